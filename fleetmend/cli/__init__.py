"""The command `fleetmend`. Importing the modules registers their commands."""

from fleetmend.cli import audit, deadletters, demo, evaluate, halt, replay, runbook, settings, up
from fleetmend.cli.app import run

COMMANDS = (audit, deadletters, demo, evaluate, halt, replay, runbook, settings, up)
"""Importing a module registers its commands."""


def main() -> None:
    """Run the command line."""
    run()
