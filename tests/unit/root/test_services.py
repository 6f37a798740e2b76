"""Services go on after failures, back off by the current run of them, and say how they are."""

import threading
from collections.abc import Callable

from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import FleetError
from fleetmend.services import BACK_OFF_S, WELL_AFTER_S, Loop, Service, ServiceThreads, settle


class Script:
    """A step that does what it is told, one entry after the other, then stops the threads."""

    def __init__(self, *entries: int | Exception) -> None:
        self._entries = list(entries)
        self.stop: Callable[[], None] | None = None

    def __call__(self) -> int:
        if not self._entries:
            assert self.stop is not None
            self.stop()
            return 0
        entry = self._entries.pop(0)
        if isinstance(entry, Exception):
            raise entry
        return entry


def play(*entries: int | Exception) -> tuple[Service, float]:
    """Run the script to its end; the service, and the seconds that were waited."""
    clock = ManualClock(100.0)
    script = Script(*entries)
    service = Service("scripted", script)
    threads = ServiceThreads([service], clock)
    script.stop = threads.ask_to_stop
    threads.start()
    threads.join(timeout_s=10)
    return service, clock.now_s() - 100.0


def test_a_failure_is_counted_and_the_service_goes_on() -> None:
    service, _ = play(FleetError("broken"), 1, 1)

    assert service.health.failures == 1
    assert service.health.failing == ""


def test_a_bug_stops_nothing_either() -> None:
    service, _ = play(ZeroDivisionError(), 1)

    assert (service.health.failures, service.health.failing) == (1, "")


def test_back_off_counts_the_current_run_of_failures_only() -> None:
    """Five failures long ago must not make a hiccup cost five seconds."""
    long_ago = [entry for _ in range(5) for entry in (FleetError("again"), 1)]

    _, waited_s = play(*long_ago, FleetError("once"), 1)

    assert waited_s < 7 * BACK_OFF_S[0]


def test_what_fails_makes_the_process_unready_and_what_recovers_does_not() -> None:
    clock = ManualClock(0.0)
    service = Service("s", lambda: 0)
    threads = ServiceThreads([service], clock)
    service.health.failing = "broken"

    assert threads.unready() == ["s: broken"]
    service.health.failing = ""
    assert threads.unready() == []
    clock.advance_to(1000.0)
    assert threads.unready() == ["s: no step for 1000 s"]


def test_a_loop_that_had_been_well_is_not_failing_for_ever() -> None:
    clock = ManualClock(0.0)
    runs = []

    def run(stop: threading.Event) -> None:
        runs.append(clock.now_s())
        if len(runs) == 1:
            raise FleetError("a blip")
        clock.sleep(WELL_AFTER_S + 1)
        stop.set()

    loop = Loop("collector", run)
    threads = ServiceThreads([loop], clock)
    threads.start()
    threads.join(timeout_s=10)

    assert len(runs) == 2
    assert threads.unready() == []


def test_stopping_waits_once_for_all_that_are_stuck_and_names_them() -> None:
    """A minute for six services in long steps is too much for who pressed Ctrl C."""
    release = threading.Event()

    class Waited(ManualClock):
        """Half of the time is over at each look."""

        def monotonic_s(self) -> float:
            self.sleep(0.05)
            return self.now_s()

    def stuck(_: threading.Event) -> None:
        release.wait(60)

    clock = Waited()
    threads = ServiceThreads([Loop(f"loop {n}", stuck) for n in range(40)], clock)
    threads.start()
    threads.ask_to_stop()
    begun_s = SystemClock().monotonic_s()

    left = threads.join(timeout_s=0.1)

    assert SystemClock().monotonic_s() - begun_s < 40 * 0.05, "each thread was given its own time"
    assert left == [f"loop {n}" for n in range(40)]
    release.set()
    assert threads.join(timeout_s=10) == []


def test_settling_runs_all_until_none_has_anything_to_do() -> None:
    left = {"a": 3, "b": 2}

    def step(name: str) -> int:
        left[name] -= left[name] > 0
        return left[name]

    settle([Service("a", lambda: step("a")), Service("b", lambda: step("b"))])

    assert left == {"a": 0, "b": 0}
