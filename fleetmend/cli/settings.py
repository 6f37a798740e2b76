"""`fleetmend settings`: what is in force, and where each value comes from."""

from collections.abc import Iterator
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Output, app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.say import Tone, say
from fleetmend.cli.tables import add_row
from fleetmend.settings import Loaded
from fleetmend.settings.page import settings_page
from fleetmend.settings.section import Section

settings_app = typer.Typer(help="Show and check settings.", no_args_is_help=True)
app.add_typer(settings_app, name="settings")


@settings_app.command("show")
def show(
    config: ConfigOption = None,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value comes from.")
    ] = False,
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
) -> None:
    """Print every setting with its value."""
    loaded = load(config)
    if output is not Output.TABLE:
        typer.echo(loaded.settings.model_dump_json(indent=2 if output is Output.JSON else None))
        return
    table = Table("setting", "value", *(["origin"] if origin else []), box=None)
    for key, value in flatten(loaded.settings):
        row = [key, repr(value)]
        add_row(table, *row, *([origin_of(key, loaded)] if origin else []))
    Console(width=160, highlight=False).print(table)


def flatten(section: Section, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """`streams.engine`, value ... in the order of the fields."""
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, Section):
            yield from flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def origin_of(key: str, loaded: Loaded) -> str:
    """The origin of a setting, or that of what it was set within, or `default`."""
    parts = key.split(".")
    for length in range(len(parts), 0, -1):
        found = loaded.origins.get(".".join(parts[:length]))
        if found:
            return found
    inside = sorted({o for k, o in loaded.origins.items() if k.startswith(key + ".")})
    return ", ".join(inside) or "default"


@settings_app.command("validate")
def validate(config: ConfigOption = None) -> None:
    """Check the settings; say the first mistake with its source, line and key."""
    load(config)
    say("settings are valid", Tone.GOOD)


@settings_app.command("page")
def page() -> None:
    """Print docs/settings.md, made from the settings themselves."""
    typer.echo(settings_page(), nl=False)
