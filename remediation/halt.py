"""The halt switch: a file, and the rule for several switches. Not knowing means halted.

Executors read it themselves before every write, so it works with broker, store and console down.
Wired by the composition root; set by `remediation.service` and `fleetmend halt`.
"""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fleetmend.clock import Clock
from fleetmend.errors import PortError
from fleetmend.ports.halt import HaltState, HaltSwitch

AGE_MAX_S = 0.5
"""Seconds for which a state that was read may be used again."""

BYTES_MAX = 4096
_STATE = TypeAdapter(HaltState)


class FileHalt:
    """A small JSON file, replaced whole: it is never seen half written."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def create(self) -> None:
        """Called at start-up: a switch that was never set stands on go. An existing file stays as
        it is, readable or not. Raises PortError."""
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("xb") as file:
                file.write(_STATE.dump_json(HaltState(halted=False)))
        except FileExistsError:
            return
        except OSError as error:
            raise PortError(
                f"cannot be created: {error.strerror}", where=str(self._path)
            ) from error

    def state(self) -> HaltState:
        """What the file says now; halted when it says nothing that can be read."""
        try:
            with self._path.open("rb") as file:
                content = file.read(BYTES_MAX + 1)
            return _STATE.validate_json(content[: BYTES_MAX + 1], strict=True)
        except OSError as error:
            return _unknown(f"{self._path}: {error.strerror}")
        except ValidationError:
            return _unknown(f"{self._path}: cannot be understood")

    def set(self, state: HaltState) -> None:
        """Replace the file. Raises PortError."""
        content = _STATE.dump_json(state)
        try:
            handle, name = tempfile.mkstemp(dir=self._path.parent, prefix=".halt-")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                os.replace(name, self._path)
            except OSError:
                with contextlib.suppress(OSError):
                    os.unlink(name)
                raise
        except OSError as error:
            raise PortError(f"cannot be set: {error.strerror}", where=str(self._path)) from error


class AnyHalt:
    """Several switches as one: halted when any of them is."""

    def __init__(self, switches: Sequence[HaltSwitch]) -> None:
        self._switches = tuple(switches)

    def state(self) -> HaltState:
        """The first that is halted; halted when there is no switch at all."""
        states = [switch.state() for switch in self._switches]
        for state in states:
            if state.halted:
                return state
        return states[0] if states else _unknown("no switch is wired")

    def set(self, state: HaltState) -> None:
        """Set all of them. One that fails does not keep the others from being set; it raises
        PortError afterwards."""
        failed: list[PortError] = []
        for switch in self._switches:
            try:
                switch.set(state)
            except PortError as error:
                failed.append(error)
        if failed:
            raise failed[0]


class RecentHalt:
    """A switch that is read at most twice a second, however often it is asked."""

    def __init__(self, switch: HaltSwitch, clock: Clock) -> None:
        self._switch = switch
        self._clock = clock
        self._read: tuple[float, HaltState] | None = None

    def state(self) -> HaltState:
        """At most half a second old."""
        now_s = self._clock.monotonic_s()
        if self._read is None or now_s - self._read[0] >= AGE_MAX_S:
            # The time before the read: a slow read must not pass for a fresh one.
            self._read = now_s, self._switch.state()
        return self._read[1]

    def set(self, state: HaltState) -> None:
        """At once, also for those who ask here."""
        self._read = None
        self._switch.set(state)


def _unknown(why: str) -> HaltState:
    return HaltState(halted=True, by="unknown", reason=f"cannot be read: {why}")
