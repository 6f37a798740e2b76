"""The command `fleetmend`. Importing the modules registers their commands."""

from fleetmend.cli import evaluate, replay, settings
from fleetmend.cli.app import run

__all__ = ["evaluate", "main", "replay", "settings"]


def main() -> None:
    """Run the command line."""
    run()
