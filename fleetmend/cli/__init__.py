"""The command `fleetmend`. Importing the modules registers their commands."""

from fleetmend.cli import audit, deadletters, demo, evaluate, halt, replay, runbook, settings, up
from fleetmend.cli.app import run

__all__ = [
    "audit",
    "deadletters",
    "demo",
    "evaluate",
    "halt",
    "main",
    "replay",
    "runbook",
    "settings",
    "up",
]


def main() -> None:
    """Run the command line."""
    run()
