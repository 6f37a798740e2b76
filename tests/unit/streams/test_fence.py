"""The claim of a runner on its fold: the newest counts, and whoever lost it is told in time."""

from collections.abc import Iterator

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import FenceLost, StreamError
from fleetmend.model.events import Event, EventType
from fleetmend.model.findings import Finding
from fleetmend.model.ticks import Claim, Cut, Mark
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.codec import decode
from fleetmend.streams.fence import FRESH_S, Fence
from fleetmend.streams.port import Outgoing, TopicPartition
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import SPECS, Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from tests.unit.streams.payloads import GPU
from tests.unit.streams.toy import ToyStage

START_S = 1_800_000_000.0
TICKS = TopicPartition(Topic.TICKS, 0)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S)


@pytest.fixture
def log(clock: ManualClock) -> Iterator[SqliteLog]:
    log = SqliteLog(":memory:", clock=clock, partitions=1)
    yield log
    log.close()


def fence(log: SqliteLog, clock: ManualClock, runner: str, fold: str = "toy") -> Fence:
    return Fence(log, TICKS, fold=fold, runner=runner, clock=clock)


def written(log: SqliteLog, runner: str, tick: int = 1) -> Cut:
    cut = Cut("toy", tick, {}, START_S, runner=runner)
    log.append([Outgoing(Topic.TICKS, "toy", cut)])
    return cut


def test_a_cut_before_anybody_elses_claim_counts_and_one_behind_it_is_void(
    log: SqliteLog, clock: ManualClock
) -> None:
    old, new = fence(log, clock, "a"), fence(log, clock, "b")
    old.take()
    first = written(log, "a", 1)
    new.take()
    second = written(log, "a", 2)

    old.confirm(first)
    with pytest.raises(FenceLost, match="runner b has taken over"):
        old.confirm(second)
    with pytest.raises(FenceLost):
        old.take()
    new.confirm(written(log, "b", 2))


def test_a_claim_of_another_fold_is_no_claim_of_ours(log: SqliteLog, clock: ManualClock) -> None:
    mine = fence(log, clock, "a")
    mine.take()
    fence(log, clock, "b", fold="rca").take()

    mine.confirm(written(log, "a"))
    mine.check()


def test_a_runner_claims_once_and_never_takes_back_what_it_lost(
    log: SqliteLog, clock: ManualClock
) -> None:
    """Else two of them would take the fold from each other for ever."""
    old = fence(log, clock, "a")
    old.take()
    old.take()
    fence(log, clock, "b").take()
    for _ in range(2):
        with pytest.raises(FenceLost):
            old.take()

    claims = [decode(raw).payload for raw in log.read({TICKS: 0}, limit=10)]
    assert [claim.runner for claim in claims if isinstance(claim, Claim)] == ["a", "b"]


def test_without_a_name_nothing_is_claimed_or_read(log: SqliteLog, clock: ManualClock) -> None:
    nobody = fence(log, clock, "")
    nobody.take()
    nobody.check()
    nobody.confirm(Cut("toy", 1, {}, START_S))

    assert log.end(TICKS) == nobody.position == 0


def test_what_does_not_come_back_is_said(log: SqliteLog, clock: ManualClock) -> None:
    mine = fence(log, clock, "a")
    mine.take()

    with pytest.raises(StreamError, match="does not come back"):
        mine.confirm(Cut("toy", 1, {}, START_S, runner="a"))


def test_a_claim_that_retention_has_taken_still_holds(log: SqliteLog, clock: ManualClock) -> None:
    mine = fence(log, clock, "a")
    mine.take()
    written(log, "a", 0)
    clock.sleep(SPECS[Topic.TICKS].retention_s + 61)

    cut = written(log, "a", 1)
    mine.confirm(cut)

    assert log.begin(TICKS) > 1


def test_one_that_was_away_says_nothing_on_arrival_before_it_has_looked(
    log: SqliteLog, clock: ManualClock
) -> None:
    def runner(name: str) -> StageRunner:
        return StageRunner(
            ToyStage(),
            log,
            output=Topic.FINDINGS,
            snapshots=MemorySnapshots(),
            dead_letters=MemoryDeadLetters(),
            clock=clock,
            ticks=TickSettings(),
            runner=name,
        )

    old = runner("a")
    log.append([Outgoing(topic, "", Mark("p", START_S), 0) for topic in ToyStage.inputs])
    while old.step():
        pass
    runner("b").step()
    clock.sleep(FRESH_S)
    log.append([Outgoing(Topic.EVENTS, "", Event("e", "s", EventType.XID, START_S, GPU), 0)])

    with pytest.raises(FenceLost):
        old.step()

    place = log.partitions(Topic.FINDINGS)[0]
    said = [decode(raw).payload for raw in log.read({place: 0}, limit=10)]
    assert not any(isinstance(payload, Finding) for payload in said)
