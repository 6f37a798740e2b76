"""Settings from defaults, a TOML file, the environment and flags, later ones winning, each value's
origin kept. Called by the command line; nothing else reads files or variables for settings.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from fleetmend.errors import SettingsError
from fleetmend.settings.root import Settings

ENV_PREFIX = "FLEETMEND_"
DEFAULT_PATH = Path("/etc/fleetmend/config.toml")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Settings with the origin of every value that is not a default."""

    settings: Settings
    origins: Mapping[str, str]
    """`streams.engine` -> `environment FLEETMEND_STREAMS__ENGINE`, `config.toml line 3`, `flag`."""


def load_settings(
    *,
    path: Path | None = None,
    environment: Mapping[str, str] | None = None,
    flags: Mapping[str, Any] | None = None,
    preset: Mapping[str, Any] | None = None,
) -> Loaded:
    """Read and check everything. `preset` replaces defaults (the demonstration's, say) and yields
    to every other source. Raises SettingsError naming the source, the line and the key."""
    values: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for key, value in (preset or {}).items():
        _set(values, key.split("."), value)
        origins[key] = "preset"
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    if path is not None:
        _read_file(path, values, origins)
    _read_environment(environment or {}, values, origins)
    for key, value in (flags or {}).items():
        _set(values, key.split("."), value)
        origins[key] = "flag"
    try:
        return Loaded(Settings.model_validate(values), origins)
    except ValidationError as error:
        raise _explain(error, origins) from error


def _read_file(path: Path, values: dict[str, Any], origins: dict[str, str]) -> None:
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"cannot be read: {error.strerror}", where=str(path)) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"is not TOML: {error}", where=str(path)) from error
    lines = _lines_of_keys(text)
    for key, value in _leaves(content):
        _set(values, key.split("."), value)
        line = lines.get(key)
        origins[key] = f"{path} line {line}" if line else str(path)


def _read_environment(
    environment: Mapping[str, str], values: dict[str, Any], origins: dict[str, str]
) -> None:
    for name in sorted(environment):
        if not name.startswith(ENV_PREFIX):
            continue
        words = name.removeprefix(ENV_PREFIX).lower().split("__")
        text, key = environment[name], ".".join(words)
        value: Any = text
        if text[:1] in "[{":
            try:
                value = json.loads(text)
            except json.JSONDecodeError as error:
                where = f"environment {name}"
                raise SettingsError(f"looks like JSON but is not: {error}", where=where) from error
        _set(values, words, value)
        origins[key] = f"environment {name}"


def _set(values: dict[str, Any], path: list[str], value: Any) -> None:
    for word in path[:-1]:
        inner = values.setdefault(word, {})
        if not isinstance(inner, dict):
            inner = values[word] = {}
        values = inner
    values[path[-1]] = value


def _leaves(content: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, value in content.items():
        if isinstance(value, dict) and value:
            found += _leaves(value, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", value))
    return found


def _lines_of_keys(text: str) -> dict[str, int]:
    """Where each plain `key = value` stands; keys inside inline tables are not looked for."""
    lines: dict[str, int] = {}
    section = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[{1,2}([^\]]+)\]", line):
            section = header[1].strip() + "."
            lines.setdefault(header[1].strip(), number)
        elif key := re.match(r"\s*([A-Za-z0-9_.-]+)\s*=", line):
            lines.setdefault(section + key[1], number)
    return lines


def _explain(error: ValidationError, origins: Mapping[str, str]) -> SettingsError:
    """The first mistake, with its key and where it came from."""
    first = error.errors()[0]
    path = [str(part) for part in first["loc"]]
    key = ".".join(path)
    nearest = next(
        (".".join(path[:n]) for n in range(len(path), 0, -1) if ".".join(path[:n]) in origins), ""
    )
    beneath = next((name for name in origins if name.startswith(key + ".")), "")
    where = origins.get(nearest) or origins.get(beneath) or "settings"
    if first["type"] == "extra_forbidden":
        return SettingsError(f"unknown key {key!r}", where=where, fix="See docs/settings.md.")
    return SettingsError(f"{key}: {first['msg']}", where=where, fix="See docs/settings.md.")
