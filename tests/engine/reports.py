"""What must be reported of each fault, by whom, and what must not: asked of a live engine by
`make test-engine` and of its recorded pages by the unit tests.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from fleetmend.model.events import EventType
from tests.engine.told import Told

STILL_S = 4.0
"""Seconds without a change from which a page is said to stand still."""

Moments = Callable[[Told, float], Iterator[float]]
"""When it was told, of all that is of the fault's time or later."""


@dataclass(frozen=True, slots=True)
class Report:
    """One thing that somebody says of a fault."""

    words: str
    by: str
    moments: Moments
    times: int = 1
    """How often it must have been said to count."""

    def told_s(self, told: Told, since_s: float) -> float | None:
        """When it stood in the log, Unix seconds; None when it does not."""
        return next(islice(self.moments(told, since_s), self.times - 1, None), None)


@dataclass(frozen=True, slots=True)
class Fault:
    """One way in which an engine breaks."""

    what: str
    must: tuple[Report, ...]
    never: tuple[Report, ...] = ()


def sample(signal: str, words: str, holds: Callable[[float], bool], *, times: int = 1) -> Report:
    """A value of a signal."""
    by = "probe" if signal.removeprefix("engine.").startswith(("canary", "probe")) else "scraper"
    return Report(
        f"{signal} {words}", by, lambda told, since_s: told.sampled(signal, holds, since_s), times
    )


def event(kind: EventType, by: str, *, times: int = 1, **data: object) -> Report:
    """An event with these data."""
    words = " ".join(f"{name}={value}" for name, value in data.items())
    return Report(
        f"{kind.value} {words}",
        by,
        lambda told, since_s: told.happened(kind, since_s, **data),
        times,
    )


def probed(outcome: str, *, times: int = 1) -> Report:
    """What came of canary requests."""
    return event(EventType.PROBE, "probe", times=times, outcome=outcome)


def logged(signature: str, by: str = "engine log") -> Report:
    """A line that the catalogue knows."""
    return event(EventType.LOG_SIGNATURE, by, signature=signature)


def finding(detector: str, reason: str) -> Report:
    """What detection makes of it."""
    return Report(
        f"{detector}: {reason}",
        "detection",
        lambda told, since_s: told.found(detector, reason, since_s),
    )


READ = sample("engine.scrape_up", "is 1", lambda value: value == 1)
UNREAD = sample("engine.scrape_up", "is 0", lambda value: value == 0)
QUEUE = sample("engine.requests_waiting", "is above 0", lambda value: value > 0)
STILL = sample("engine.scrape_unchanged", f"is {STILL_S:.0f} s", lambda value: value >= STILL_S)
NO_TOKENS = sample("engine.token_rate", "is 0, twice", lambda value: value == 0, times=2)
UNANSWERED = sample("engine.canary_ok", "is 0", lambda value: value == 0)
IN_HAND = sample("engine.requests_running", "is above 0", lambda value: value > 0)
PROBE_FAILS = event(EventType.PROBE, "probe", ok=False)
CRASHED, STALLED = finding("watchdog", "crashed"), finding("watchdog", "stalled")
REFUSED = probed("refused")
ABSENT, FROZEN = finding("coverage", "absent"), finding("coverage", "frozen")

FAULTS: Mapping[str, Fault] = {
    "core_stopped_idle": Fault(
        "SIGSTOP of the engine core with nothing in hand",
        (probed("timeout", times=2), UNANSWERED, STALLED),
        (UNREAD, QUEUE, IN_HAND, CRASHED, ABSENT, FROZEN),
    ),
    "core_stopped_in_hand": Fault(
        "SIGSTOP of the engine core with requests in hand",
        (READ, IN_HAND, STILL, NO_TOKENS, probed("timeout"), STALLED, FROZEN),
        (UNREAD, CRASHED, ABSENT),
    ),
    "front_stopped": Fault(
        "SIGSTOP of the API server with requests in hand",
        (
            UNREAD,
            event(EventType.SCRAPE, "scraper", outcome="timeout"),
            sample("engine.scrape_age", f"is {STILL_S:.0f} s", lambda value: value >= STILL_S),
            probed("timeout"),
            ABSENT,
        ),
        (READ,),
    ),
    "worker_killed": Fault(
        "SIGKILL of the worker with requests in hand",
        (
            logged("worker_died"),
            logged("engine_core_fatal"),
            logged("engine_dead"),
            PROBE_FAILS,
            UNREAD,
            event(EventType.SCRAPE, "scraper", outcome="refused"),
            REFUSED,
            CRASHED,
            ABSENT,
        ),
    ),
    "core_killed": Fault(
        "SIGKILL of the engine core with requests in hand",
        (
            logged("engine_dead"),
            PROBE_FAILS,
            UNREAD,
            event(EventType.SCRAPE, "scraper", outcome="refused"),
            REFUSED,
            CRASHED,
            ABSENT,
        ),
    ),
    "memory_limit": Fault(
        "memory cgroup without room as a huge request comes: the kernel kills the worker",
        (
            logged("oom_kill", "kernel log"),
            logged("worker_died"),
            UNREAD,
            REFUSED,
            CRASHED,
        ),
    ),
    "tiny_cache": Fault(
        "KV cache of 896 tokens for eight requests of up to 432 each",
        (
            sample("engine.kv_usage", "is above 0.8", lambda value: value > 0.8),
            sample("engine.preemptions", "is above 0", lambda value: value > 0),
            QUEUE,
            finding("rules", "kv_pressure"),
        ),
        (UNREAD, PROBE_FAILS, CRASHED, STALLED, ABSENT, FROZEN),
    ),
    "long_prompts": Fault(
        "24 prompts of 1,900 tokens at once on eight places",
        (
            QUEUE,
            probed("busy"),
            sample("engine.ttft_p95", "is above 1 s", lambda value: value > 1),
        ),
        (UNREAD, PROBE_FAILS, CRASHED, STALLED, ABSENT, FROZEN),
    ),
}


@dataclass(frozen=True, slots=True)
class Delay:
    """A report that came."""

    words: str
    by: str
    delay_s: float


def missing(fault: Fault, told: Told, since_s: float) -> list[str]:
    """What has not been said yet."""
    return [report.words for report in fault.must if report.told_s(told, since_s) is None]


def said_wrongly(fault: Fault, told: Told, since_s: float) -> list[str]:
    """What was said and must not be."""
    return [report.words for report in fault.never if report.told_s(told, since_s) is not None]


def delays(fault: Fault, told: Told, since_s: float) -> list[Delay]:
    """What was reported, by whom and when, the soonest first."""
    moments = [(report, report.told_s(told, since_s)) for report in fault.must]
    found = [
        Delay(report.words, report.by, round(told_s - since_s, 2))
        for report, told_s in moments
        if told_s is not None
    ]
    return sorted(found, key=lambda delay: delay.delay_s)
