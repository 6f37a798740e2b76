"""The settings of a command: its option for a file, and how everything is brought together."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetmend.settings import Loaded, load_settings

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="Settings file (TOML).", envvar="FLEETMEND_CONFIG"),
]


def load(
    config: Path | None,
    flags: dict[str, Any] | None = None,
    preset: dict[str, Any] | None = None,
) -> Loaded:
    """Settings of this process: preset, file, environment, flags."""
    environment = {k: v for k, v in os.environ.items() if k != "FLEETMEND_CONFIG"}
    return load_settings(path=config, environment=environment, flags=flags, preset=preset)
