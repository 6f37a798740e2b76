"""The command `fleetmend`. Importing the modules registers their commands."""

from fleetmend.cli import settings
from fleetmend.cli.app import run

__all__ = ["main", "settings"]


def main() -> None:
    """Run the command line."""
    run()
