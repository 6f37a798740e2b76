"""The command line: one typer application, one module per command group.

Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused by policy. Data goes to standard
output, everything said to people to standard error.
"""

import sys
from enum import IntEnum, StrEnum

import typer

from fleetmend.cli.say import Tone, say
from fleetmend.errors import ActionRefused, FleetError


class Exit(IntEnum):
    """What the process ends with."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3


class Output(StrEnum):
    """How data is printed."""

    TABLE = "table"
    JSON = "json"
    JSONL = "jsonl"


app = typer.Typer(
    name="fleetmend",
    help="Find what is going wrong in a GPU inference fleet, say why, and mend it within limits.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def fleetmend() -> None:
    """Keeps the names of commands where only one of them is loaded."""


def run() -> None:
    """Entry point: an error of ours becomes one clear line and an exit code."""
    try:
        app()
    except ActionRefused as refusal:
        say(f"refused: {refusal}", Tone.DOUBTFUL)
        sys.exit(Exit.REFUSED)
    except FleetError as error:
        say(f"error: {error}", Tone.BAD)
        sys.exit(Exit.FAILED)
