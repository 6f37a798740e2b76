"""The platform as separate processes: `fleetmend up --role ...` on one settings file."""

import contextlib
import os
import sys
import threading
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from deploy.parts.process import Daemon, free_port

COMMAND = Path(sys.executable).parent / "fleetmend"
ROLES = ("collector", "detector", "rca", "remediator")


class Workers:
    """One process for each role; a context manager that stops them all."""

    def __init__(self, settings: Path, folder: Path) -> None:
        """`settings` is the TOML file; `folder` takes the logs."""
        self._settings = settings
        self._folder = folder
        self._ports = {role: free_port() for role in ROLES}
        self._lock = threading.Lock()
        self.processes: dict[str, Daemon] = {}

    def start(self) -> None:
        """Start all at once, as an orchestrator would."""
        for role in ROLES:
            self.processes[role] = Daemon(
                [
                    *_clean_environment(),
                    f"FLEETMEND_HEALTH__PORT={self._ports[role]}",
                    *(COMMAND, "up", "--role", role, "--config", self._settings),
                ],
                log=self._folder / f"{role}.log",
            )

    def stop(self) -> None:
        """SIGTERM to all, then wait for all."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                process.process.terminate()
        for process in self.processes.values():
            process.stop(grace_s=20.0)

    def kill(self, role: str) -> None:
        """SIGKILL, and start it again at once."""
        with self._lock:
            self.processes[role].kill()
            self.processes[role].restart()

    def ready(self) -> bool:
        """Whether every role says that it is."""
        return all(self._ready(role) for role in ROLES)

    def left(self) -> list[str]:
        """Roles whose process has ended by itself."""
        with self._lock:
            return [role for role, p in self.processes.items() if p.process.poll() is not None]

    def tails(self) -> str:
        """The end of every log."""
        return "\n".join(
            f"---- {role}\n{process.tail(4000)}" for role, process in self.processes.items()
        )

    def _ready(self, role: str) -> bool:
        try:
            with urllib.request.urlopen(
                f"http://127.0.0.1:{self._ports[role]}/readyz", timeout=2
            ) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False


def _clean_environment() -> list[str]:
    """Whoever runs the tests may have variables of ours set: they are no settings of these
    workers."""
    ours = [name for name in os.environ if name.startswith("FLEETMEND_")]
    return ["env", *(word for name in ours for word in ("-u", name))]


def toml(values: Mapping[str, object]) -> str:
    """Settings as TOML: `a.b.c` keys, values as TOML writes them, lists of inline tables."""
    return "".join(f"{key} = {_toml(value)}\n" for key, value in values.items())


def _toml(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case Mapping():
            return "{" + ", ".join(f"{key} = {_toml(v)}" for key, v in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(_toml(v) for v in value) + "]"
        case _:
            return '"' + str(value).replace("\\", "\\\\").replace('"', '\\"') + '"'
