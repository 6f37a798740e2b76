"""Starting, awaiting and stopping the programs of real parts, by pid and never by name."""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class PartFailed(Exception):
    """A part did not come up or left early; the message holds the end of its log."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class Daemon:
    """One program in a process group of its own, with its output in a file."""

    def __init__(
        self,
        argv: Sequence[str | Path],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        user: str | None = None,
        stop_signal: signal.Signals = signal.SIGTERM,
    ) -> None:
        self._argv = [str(word) for word in argv]
        self._log = log
        self._cwd = cwd
        self._env = env
        self._user = user
        self._stop_signal = stop_signal
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self._log.open("ab") as out:
            return subprocess.Popen(
                self._argv,
                stdout=out,
                stderr=out,
                stdin=subprocess.DEVNULL,
                cwd=self._cwd,
                env=None if self._env is None else {**os.environ, **self._env},
                user=self._user,
                group=self._user,
                extra_groups=None if self._user is None else [],
                process_group=0,
            )

    @property
    def pid(self) -> int:
        """The process id of the program as it runs now."""
        return self.process.pid

    def await_ready(self, ready: Callable[[], bool], *, timeout_s: float) -> None:
        """Poll until `ready()`. Raises PartFailed when the program ends or the time is over. A part
        that did not come up, or whose start was interrupted, is ended: nobody holds it yet."""
        try:
            self._await(ready, timeout_s)
        except BaseException:
            self.stop()
            raise

    def _await(self, ready: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise PartFailed(
                    f"{self._argv[0]} left with {self.process.returncode}\n{self.tail()}"
                )
            with contextlib.suppress(OSError):
                if ready():
                    return
            time.sleep(0.05)
        raise PartFailed(f"{self._argv[0]} not ready after {timeout_s:.0f} s\n{self.tail()}")

    def tail(self, characters: int = 3000) -> str:
        """The end of the program's output."""
        return self._log.read_text(errors="replace")[-characters:] if self._log.exists() else ""

    def kill(self) -> None:
        """SIGKILL, as a crash would, and wait until the process is gone."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def restart(self) -> None:
        """Start the same program again after `kill` or `stop`."""
        self.process = self._spawn()

    def stop(self, *, grace_s: float = 10.0) -> None:
        """The part's stop signal (SIGTERM by default), then SIGKILL after the grace."""
        if self.process.poll() is None:
            self.process.send_signal(self._stop_signal)
            try:
                self.process.wait(grace_s)
            except subprocess.TimeoutExpired:
                self.kill()
