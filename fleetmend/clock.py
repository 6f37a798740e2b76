"""The only clock. Everything that needs the time takes a `Clock`; nothing else reads the machine's.

Stages do not even take a clock: their time is the event time of ticks. Clocks are for the edges:
collectors, executors, the console, and the closing of ticks when every source is silent.
"""

import threading
import time
from typing import Protocol


class Clock(Protocol):
    """Wall time, monotonic time and waiting, in seconds."""

    def now_s(self) -> float:
        """Unix time in seconds."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never run backwards, for measuring spans."""
        ...

    def sleep(self, delay_s: float) -> None:
        """Wait for `delay_s` seconds of this clock."""
        ...

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Wait until `event` is set or `timeout_s` has passed; true when it was set."""
        ...


class SystemClock:
    """The machine's own time."""

    def now_s(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic_s(self) -> float:
        """Seconds since an arbitrary moment; never runs backwards."""
        return time.monotonic()

    def sleep(self, delay_s: float) -> None:
        """Block this thread."""
        time.sleep(max(0.0, delay_s))

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Block until `event` is set or the time has passed."""
        return event.wait(max(0.0, timeout_s))


class ManualClock:
    """A clock that moves only when told to: replays, simulations and tests."""

    def __init__(self, start_s: float = 0.0) -> None:
        self._now_s = start_s

    def now_s(self) -> float:
        """The time last set."""
        return self._now_s

    def monotonic_s(self) -> float:
        """The same: this clock never runs backwards."""
        return self._now_s

    def advance_to(self, moment_s: float) -> None:
        """Move forward to `moment_s`; a moment in the past changes nothing."""
        self._now_s = max(self._now_s, moment_s)

    def sleep(self, delay_s: float) -> None:
        """Waiting is moving."""
        self._now_s += max(0.0, delay_s)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        """Move past the timeout unless `event` is set already."""
        if event.is_set():
            return True
        self.sleep(timeout_s)
        return event.is_set()
