"""The halt switch: a file, and the rule for several switches. Not knowing means halted, and a file
that is gone says nothing: only setting up, and a person who says so, put a switch on go.

Executors read it themselves before every write, so it works with broker, store and console down.
Wired by the composition root; set by `remediation.service` and `fleetmend halt`.
"""

import contextlib
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from fleetmend.clock import Clock
from fleetmend.errors import PortError
from fleetmend.ports.halt import HaltState, HaltSwitch

AGE_MAX_S = 0.5
"""Seconds for which a state that was read may be used again."""

BYTES_MAX = 4096

UNKNOWN = "unknown"
"""Who halted, where a switch could not be read."""
_STATE = TypeAdapter(HaltState)


class FileHalt:
    """A small JSON file, replaced whole: it is never seen half written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._where = str(path.absolute())

    def create(self) -> None:
        """For setting up a demonstration or a test, never at the start of a running platform: a
        switch on go. An existing file stays as it is, readable or not. Raises PortError."""
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
        """What the file says now; halted when it says nothing that can be read, or is not there:
        a lost disk must not lift a halt."""
        try:
            with self._path.open("rb") as file:
                content = file.read(BYTES_MAX + 1)
            state = _STATE.validate_json(content[: BYTES_MAX + 1], strict=True)
        except FileNotFoundError:
            state = unknown(f"{self._path} is not there; `fleetmend resume` sets it up")
        except OSError as error:
            state = unknown(f"{self._path} cannot be read: {error.strerror}")
        except ValidationError:
            state = unknown(f"{self._path} cannot be understood")
        return replace(state, where=self._where)

    def set(self, state: HaltState) -> None:
        """Replace the file, or make it. Raises PortError."""
        content = _STATE.dump_json(replace(state, where=""))
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
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
        """In the order in which they are asked: those that answer at once first."""
        self._switches = tuple(switches)

    def state(self) -> HaltState:
        """The first halt that somebody set, without asking the switches behind it: a slow one
        delays no halt. Else the first switch that cannot be read, which counts as halted; halted
        when there is no switch at all."""
        unread: HaltState | None = None
        go: HaltState | None = None
        for switch in self._switches:
            state = _asked(switch)
            if not state.halted:
                go = go or state
            elif state.by != UNKNOWN:
                return state
            else:
                unread = unread or state
        return unread or go or unknown("no switch is wired")

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
            state = self._switch.state()
            # A slow read must not pass for a fresh go; a halt may, so that a switch that does not
            # answer is not waited for at every step of giving back.
            self._read = self._clock.monotonic_s() if state.halted else now_s, state
        return self._read[1]

    def set(self, state: HaltState) -> None:
        """At once, also for those who ask here."""
        self._read = None
        self._switch.set(state)


def unknown(why: str) -> HaltState:
    """The state of a switch that does not say."""
    return HaltState(halted=True, by=UNKNOWN, reason=why)


def _asked(switch: HaltSwitch) -> HaltState:
    try:
        return switch.state()
    except Exception as error:  # noqa: BLE001  not knowing, for whatever reason, means halted
        return unknown(f"{type(switch).__name__} failed: {type(error).__name__}: {error}")
