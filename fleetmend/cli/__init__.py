"""The command `fleetmend`. Importing the modules registers their commands."""

from fleetmend.cli import demo, evaluate, replay, settings, up
from fleetmend.cli.app import run

__all__ = ["demo", "evaluate", "main", "replay", "settings", "up"]


def main() -> None:
    """Run the command line."""
    run()
