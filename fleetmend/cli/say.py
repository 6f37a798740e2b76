"""What commands say to people, on standard error; data goes to standard output."""

from enum import StrEnum

import typer

from fleetmend.model.entities import printable


class Tone(StrEnum):
    """How a line is meant; shown as a colour on terminals."""

    PLAIN = ""
    GOOD = typer.colors.GREEN
    DOUBTFUL = typer.colors.YELLOW
    BAD = typer.colors.RED


def say(text: str, tone: Tone = Tone.PLAIN) -> None:
    """Print lines. What cannot be printed is escaped: names and errors hold what telemetry says."""
    shown = "\n".join(printable(line) for line in text.split("\n"))
    typer.secho(shown, fg=tone.value or None, err=True)
