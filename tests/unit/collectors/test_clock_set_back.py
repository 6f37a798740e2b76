"""A clock that had jumped ahead and is corrected stops no collector for the length of the jump."""

import random
from collections.abc import Callable
from typing import Any

import pytest

from collectors.ebpf.availability import Reason, Unavailable
from collectors.kube_watch import KubernetesCollector
from collectors.probe.collector import ProbeCollector
from collectors.probe.load import Loads
from collectors.promise import Promise
from fleetmend.clock import ManualClock
from fleetmend.model.events import Event
from fleetmend.settings.collectors import KubernetesSettings
from fleetmend.settings.probe import ProbeSettings
from tests.unit.collectors.fakes import ListSink
from tests.unit.collectors.otlp.test_intake import Stand, gauge, stand
from tests.unit.collectors.test_ebpf_collector import collector as ebpf
from tests.unit.collectors.test_prometheus import Rig, page

__all__ = ["stand"]

START_S = 1000.0
JUMP_S = 3600.0


class Jumping(ManualClock):
    """A wall clock that can be moved against the monotonic one."""

    ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s


def told(events: list[Event]) -> list[Event]:
    return [e for e in events if e.data.get("outcome") == "clock_set_back"]


def test_a_clock_set_back_by_little_does_not_break_the_promise() -> None:
    clock = Jumping(START_S)
    events: list[Event] = []
    promise = Promise(clock, cluster="c", name="x", tell=events.append)
    promise.marked_s = promise.now_s()
    clock.ahead_s = -59.0
    assert promise.now_s() == START_S
    assert (promise.set_back, events) == (0, [])


def test_a_promise_that_nobody_believed_is_dropped_counted_and_told_once() -> None:
    clock = Jumping(START_S)
    events: list[Event] = []
    promise = Promise(clock, cluster="c", name="x", tell=events.append)
    promise.marked_s = START_S + JUMP_S
    assert promise.now_s() == promise.now_s() == START_S
    assert promise.set_back == 1
    (event,) = events
    assert (event.subject, event.time_s) == ("c/collector/x", START_S)
    assert (event.data["outcome"], event.data["by_s"]) == ("clock_set_back", JUMP_S)


def test_the_scraper_goes_on_in_real_time() -> None:
    rig = Rig(page())
    rig.clock = clock = Jumping(START_S)
    rig.collector._clock = rig.collector._promise._clock = clock
    rig.run_for(5)
    clock.ahead_s = JUMP_S
    rig.run_for(3)
    clock.ahead_s = 0.0
    batches, marks = len(rig.sink.batches), len(rig.sink.marks)

    rig.run_for(20)

    assert len(told(rig.sink.events)) == 1
    assert rig.sink.marks[marks:] == sorted(rig.sink.marks[marks:])
    assert START_S + 25 < rig.sink.marks[-1] <= clock.now_s()
    times = [float(t) for _, batch in rig.sink.batches[batches + 1 :] for t in batch.time_s]
    assert times
    assert max(times) <= clock.now_s()


def watch(sink: ListSink, clock: ManualClock) -> Callable[[], object]:
    return KubernetesCollector(
        KubernetesSettings(), cluster="c", sink=sink, clock=clock, api=Nothing()
    ).poll


def canary(sink: ListSink, clock: ManualClock) -> Callable[[], object]:
    return ProbeCollector(
        ProbeSettings(), cluster="c", sink=sink, clock=clock, rng=random.Random(1), loads=Loads()
    )._mark


def programs(sink: ListSink, clock: ManualClock) -> Callable[[], object]:
    return ebpf(sink, clock, Reason(Unavailable.SWITCHED_OFF)).poll


class Nothing:
    """Stands for what is not asked."""

    def __getattr__(self, _: str) -> Any:
        return lambda *_, **__: None


@pytest.mark.parametrize("made", [watch, canary, programs])
def test_the_others_mark_in_real_time(
    made: Callable[[ListSink, ManualClock], Callable[[], object]],
) -> None:
    sink, clock = ListSink(), Jumping(START_S)
    poll = made(sink, clock)
    poll()
    clock.ahead_s = JUMP_S
    poll()
    clock.ahead_s = 0.0
    for _ in range(5):
        clock.sleep(1.0)
        poll()
    assert sink.marks == [START_S, START_S + JUMP_S, *(START_S + n for n in range(1, 6))]
    assert len(told(sink.events)) == 1


def test_the_intake_takes_what_is_of_now(stand: Stand) -> None:
    begun_s = stand.clock.now_s()
    stand.intake.poll()
    stand.clock.sleep(JUMP_S)
    stand.intake.poll()
    stand.clock.back_to(begun_s + 1)
    stand.sink.marks.clear()

    assert stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-1", at_s=begun_s + 1)) == 0
    assert stand.rows() == [("c/gpu/GPU-1", "gpu.utilization", 0.5)]
    assert len(told(stand.sink.events)) == 1
    assert begun_s - 60 < stand.sink.marks[-1] <= begun_s + 1
