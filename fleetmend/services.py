"""Services: what a process runs, each in a thread of its own, or all in turn for replays.

A `Service` is a step that is repeated; a `Loop` runs by itself until it is told to stop.

Here an unexpected exception is caught: it is logged and counted, the service backs off and goes on,
and readiness says so. Remediation catches it earlier for one session or one incident, and the watch
of a cluster for one turn, so that it stops no other.
"""

import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from fleetmend.clock import Clock
from fleetmend.errors import FleetError

logger = logging.getLogger(__name__)

IDLE_WAIT_S = 0.02
"""Pause after a step that found nothing to do: short, since it adds to every hop."""
BACK_OFF_S = (0.2, 0.5, 1.0, 2.0, 5.0)
WELL_AFTER_S = 30.0
"""A loop that ran for so long before it failed had been well."""
STOP_S_MAX = 10.0
"""How long stopping waits for steps under way, all together: every fold goes on from its last
snapshot, so that nothing is lost by an end in the middle."""
STUCK_AFTER_S = 30.0
"""A service whose step has not ended for so long is not ready."""


@dataclass(slots=True)
class Health:
    """How a service is doing; read by the health pages."""

    steps: int = 0
    failures: int = 0
    streak: int = 0
    """Failures since the last step that went well: decides how long to back off."""
    failing: str = ""
    """The last error while it goes on failing, else empty."""
    stepped_at_s: float = 0.0


@dataclass(slots=True)
class Service:
    """A named step. `step` returns how much it did; 0 means nothing to do just now."""

    name: str
    step: Callable[[], int]
    idle_wait_s: float = IDLE_WAIT_S
    health: Health = field(default_factory=Health)


@dataclass(slots=True)
class Loop:
    """Something that runs until `stop` is set, with its own waiting: collectors."""

    name: str
    run: Callable[[threading.Event], None]
    health: Health = field(default_factory=Health)


class ServiceThreads:
    """Runs services until told to stop."""

    def __init__(self, services: Sequence[Service | Loop], clock: Clock) -> None:
        self.services = tuple(services)
        self._clock = clock
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(service,), name=service.name, daemon=True)
            for service in self.services
        ]

    def start(self) -> None:
        """Start every thread."""
        for service, thread in zip(self.services, self._threads, strict=True):
            service.health.stepped_at_s = self._clock.now_s()
            thread.start()

    def ask_to_stop(self) -> None:
        """Every service ends after its step."""
        self._stop.set()

    def stop(self, *, timeout_s: float = STOP_S_MAX) -> None:
        """Ask all to stop, and wait for them; whoever is in the middle of a long step is left to
        end with the process, and named."""
        self.ask_to_stop()
        if left := self.join(timeout_s=timeout_s):
            logger.warning("stopped without waiting further", extra={"services": left})

    def join(self, *, timeout_s: float) -> list[str]:
        """Wait until all have stopped, all together no longer than `timeout_s`; the names of those
        that have not."""
        deadline_s = self._clock.monotonic_s() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - self._clock.monotonic_s()))
        return [thread.name for thread in self._threads if thread.is_alive()]

    def unready(self) -> list[str]:
        """Why the process is not ready: services that fail or do not return."""
        now_s = self._clock.now_s()
        reasons = []
        for service in self.services:
            health = service.health
            if health.failing:
                reasons.append(f"{service.name}: {health.failing}")
            elif isinstance(service, Loop):
                continue  # says so itself, by its marks and heartbeats
            elif now_s - health.stepped_at_s > STUCK_AFTER_S:
                reasons.append(f"{service.name}: no step for {now_s - health.stepped_at_s:.0f} s")
        return reasons

    def _run(self, service: Service | Loop) -> None:
        while not self._stop.is_set():
            wait_s = self._turn(service)
            if wait_s > 0:
                self._clock.wait(self._stop, wait_s)

    def _turn(self, service: Service | Loop) -> float:
        """One step, or a whole run; how long to wait before the next."""
        health = service.health
        try:
            if isinstance(service, Loop):
                begun_s = self._clock.now_s()
                try:
                    service.run(self._stop)
                finally:
                    if self._clock.now_s() - begun_s > WELL_AFTER_S:
                        health.streak, health.failing = 0, ""
                return 0.0
            done = service.step()
        except FleetError as error:
            return self._failed(service, str(error), expected=True)
        except Exception as error:  # noqa: BLE001  the edge: a bug in one service stops no other
            return self._failed(service, f"{type(error).__name__}: {error}", expected=False)
        health.steps += 1
        health.streak, health.failing = 0, ""
        health.stepped_at_s = self._clock.now_s()
        return 0.0 if done else service.idle_wait_s

    def _failed(self, service: Service | Loop, what: str, *, expected: bool) -> float:
        health = service.health
        health.failures += 1
        health.streak += 1
        again = health.failing == what
        health.failing = what
        health.stepped_at_s = self._clock.now_s()
        if not again:  # the same failure each second is one line, and a figure
            extra = {"service": service.name, "error": what}
            logger.error("service failed", extra=extra, exc_info=not expected)
        return BACK_OFF_S[min(health.streak, len(BACK_OFF_S)) - 1]


def settle(services: Sequence[Service]) -> None:
    """Run all in turn, in this one thread, until none has anything to do: replays and tests."""
    while sum(service.step() for service in services):
        pass
