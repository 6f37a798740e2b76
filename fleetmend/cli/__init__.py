"""The command `fleetmend`. Importing a module of this package registers its commands."""

import importlib
import sys

from fleetmend.cli.app import run

COMMANDS = (
    "audit",
    "deadletters",
    "demo",
    "evaluate",
    "halt",
    "replay",
    "runbook",
    "settings",
    "simulate",
    "up",
)
"""The modules, most of them named as the command that they register."""


def main() -> None:
    """Run the command line. Only the module of the command that was asked for is loaded: a worker
    must be up again soon after it was killed."""
    asked = [name for name in COMMANDS if sys.argv[1:2] == [name]]
    for name in asked or COMMANDS:
        importlib.import_module(f"fleetmend.cli.{name}")
    run()
