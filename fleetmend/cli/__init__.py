"""The command `fleetmend`. Importing a module of this package registers its commands."""

import importlib
import importlib.util
import sys

from fleetmend.cli.agent_memory import before_imports
from fleetmend.cli.app import Exit, run
from fleetmend.cli.say import say

COMMANDS = (
    "agent",
    "audit",
    "coverage",
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
    if asked == ["agent"]:
        before_imports()
    for name in asked or COMMANDS:
        try:
            importlib.import_module(f"fleetmend.cli.{name}")
        except ModuleNotFoundError as missing:
            package = (missing.name or "").partition(".")[0]
            if package and importlib.util.find_spec(package) is not None:
                raise  # the package is there, so this is no base install but a bug
            # A base install has what a node agent needs; the help lists what is there.
            if asked:
                say(f"error: `fleetmend {name}` needs the extra `platform`: {missing}")
                sys.exit(Exit.FAILED)
    run()
