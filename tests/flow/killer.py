"""When to kill whom: drawn by a seed, done by a thread while the story is told."""

import random
import threading
from dataclasses import dataclass

from fleetmend.clock import SystemClock
from tests.flow.story import Flow

ROLES = ("remediator", "collector", "detector", "rca")
DELAY_MAX_S = 8.0
"""From the kernel's line until after the drain has begun."""
RECORDS_MAX = 18
"""Audit records that every telling reaches: from the incident to the uncordon's intent."""
GIVE_UP_S = 120.0


@dataclass(frozen=True, slots=True)
class Blow:
    """One SIGKILL."""

    role: str
    delay_s: float | None
    """After the kernel's line; None when `record` says when."""
    record: int | None
    """As soon as the platform's audit log is so long."""


def drawn(seed: int) -> Blow:
    """By turns one role after another, so that few seeds reach all; the moment by lot."""
    rng = random.Random(seed)
    role = ROLES[seed % len(ROLES)]
    if rng.random() < 0.5:
        return Blow(role, rng.uniform(0.0, DELAY_MAX_S), None)
    return Blow(role, None, rng.randint(1, RECORDS_MAX))


class Killer:
    """Strikes once, in a thread of its own; the process is started again at once."""

    def __init__(self, flow: Flow, blow: Blow) -> None:
        self._flow = flow
        self._blow = blow
        self._clock = SystemClock()
        self._thread = threading.Thread(target=self._strike, daemon=True)
        self.struck_s: float | None = None
        """When, Unix seconds."""

    def start(self) -> None:
        """Begin to wait for the moment."""
        self._thread.start()

    def join(self) -> None:
        """Wait until it has struck."""
        self._thread.join(GIVE_UP_S)

    def _strike(self) -> None:
        never = threading.Event()
        if self._blow.delay_s is not None:
            self._clock.wait(never, self._blow.delay_s)
        record, deadline_s = self._blow.record or 0, self._clock.monotonic_s() + GIVE_UP_S
        while self._flow.audited() < record and self._clock.monotonic_s() < deadline_s:
            self._clock.wait(never, 0.005)
        self.struck_s = self._clock.now_s()
        self._flow.workers.kill(self._blow.role)
