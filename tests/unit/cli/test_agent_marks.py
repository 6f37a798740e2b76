"""What an agent promises goes out when it has moved, and again before it is taken for silent."""

import itertools
import threading

from fleetmend.cli.agent import MARK_S, mark
from fleetmend.cli.agent_sink import Promises
from fleetmend.clock import ManualClock
from fleetmend.settings.streams import TickSettings

IDLE_AFTER_S = TickSettings().idle_after_s


class Promised:
    """A producer that keeps the marks and when they went out."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.marks: list[tuple[float, float]] = []

    def mark(self, at_s: float) -> None:
        self.marks.append((self._clock.now_s(), at_s))


class Story(ManualClock):
    """A clock at whose seconds the sources promise something; it ends at the last of them."""

    def __init__(self, told: dict[float, float], *, until_s: float) -> None:
        super().__init__(0.0)
        self._told, self._until_s = told, until_s
        self.promises = Promises(self, idle_after_s=IDLE_AFTER_S)

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.sleep(timeout_s)
        at_s = max((at_s for when_s, at_s in self._told.items() if when_s <= self.now_s()))
        self.promises.note("nvml", at_s)
        return self.now_s() >= self._until_s


def marks(told: dict[float, float], *, until_s: float) -> list[tuple[float, float]]:
    clock = Story(told, until_s=until_s)
    producer = Promised(clock)
    mark(producer, clock.promises, clock, threading.Event())  # type: ignore[arg-type]
    return producer.marks


def test_a_promise_that_leaps_goes_out_at_once() -> None:
    assert marks({0.0: 0.0, 2.0: 2.0}, until_s=3.0) == [(1, 0.0), (2, 2.0)]


def test_one_that_creeps_goes_out_at_every_second_look() -> None:
    told = {0.0: 0.0, 2.0: 1.5, 3.0: 2.5, 4.0: 3.5, 5.0: 4.5}
    assert marks(told, until_s=6.0) == [(1, 0.0), (3, 2.5), (5, 4.5)]


def test_one_that_stands_still_is_repeated_before_anybody_stops_waiting_for_it() -> None:
    sent = marks({0.0: 0.0}, until_s=30.0)
    pauses = [later - earlier for (earlier, _), (later, _) in itertools.pairwise(sent)]

    assert MARK_S < max(pauses) < IDLE_AFTER_S / 2, "rarely, and never too late"


def test_none_is_taken_back() -> None:
    assert [at_s for _, at_s in marks({0.0: 7.0}, until_s=3.0)] == [7.0]
