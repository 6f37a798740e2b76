"""The detector is killed and comes back: the ledger goes on where it was, learns nothing anew, and
accuses nobody of the time in which it was away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import EntityId
from fleetmend.model.findings import Finding
from fleetmend.model.samples import SampleBatch
from fleetmend.pipeline import Parts, Role, services
from fleetmend.services import Service, settle
from fleetmend.settings import load_settings
from fleetmend.store import Store
from fleetmend.streams.codec import decode
from fleetmend.streams.producer import Producer
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from remediation.world import Ports
from tests.unit.detection.play import Rows
from tests.unit.detection.scraped import ENGINES, GPUS, NODES, Watch, scraped
from tests.unit.root.conftest import START_S

EVERYTHING = {*NODES, *ENGINES, *GPUS}


def nowhere() -> Ports:
    raise AssertionError("a detector touches nothing outside")


class World:
    """A fleet that is scraped into a log, and a detector that can be killed."""

    def __init__(self, folder: Path, clock: ManualClock, log: SqliteLog) -> None:
        flags = {"store.url": f"sqlite:///{folder / 'store.db'}", "detection.forest_calm_s": 1e9}
        self.settings = load_settings(flags=flags).settings
        self.clock, self.log = clock, log
        self.store = Store(self.settings.store.url, clock)
        self.store.migrate()
        self.producer = Producer(log, name="collector/prometheus", clock=clock)
        self.rows = Watch(topology=())
        self.rows.feed = self._send  # type: ignore[method-assign]
        self.lives = 0
        self.detector: list[Service] = []
        self.producer.topology(scraped())

    def start(self) -> None:
        """A new process of the role."""
        self.lives += 1
        parts = Parts(
            settings=self.settings,
            clock=self.clock,
            log=self.log,
            store=self.store,
            ports=nowhere,
            worker=f"life-{self.lives}",
            read_wait_s=0.0,
        )
        found = services(parts, frozenset({Role.DETECTOR}))
        self.detector = [service for service in found if isinstance(service, Service)]

    def kill(self) -> None:
        """What it knew and had not written is gone."""
        self.detector = []

    def run(self, seconds: int, *, silent: tuple[EntityId, ...] = ()) -> None:
        """The fleet goes on; the detector too, if there is one."""
        for _ in range(seconds):
            self.rows.play.tick = int(self.clock.now_s() - START_S) - 1
            self.rows.second(silent=silent)
            self.clock.sleep(1.0)
            self.producer.mark(self.clock.now_s())
            settle(self.detector)

    def _send(self, rows: Rows, **_: object) -> None:
        at_s = self.clock.now_s() + 0.5
        batch = SampleBatch.from_rows((at_s, str(e), s, v) for (e, s), v in rows.items())
        if len(batch):
            self.producer.samples("node", batch)

    @property
    def ledger(self) -> dict[EntityId, Coverage]:
        """The table."""
        with self.store.reading() as tx:
            return {entry.entity: entry for entry in tx.coverage.page(limit=500)}

    @property
    def accused(self) -> set[EntityId]:
        """Whoever coverage ever named."""
        return {
            finding.entity
            for finding in self._read(Topic.FINDINGS)
            if isinstance(finding, Finding) and finding.detector == "coverage"
        }

    @property
    def entries(self) -> list[Coverage]:
        """Everything that was ever published of the ledger but its own progress."""
        return [
            entry
            for entry in self._read(Topic.COVERAGE)
            if isinstance(entry, Coverage) and entry.entity in EVERYTHING
        ]

    def _read(self, topic: Topic) -> list[object]:
        places = {place: 0 for place in self.log.partitions(topic)}
        return [decode(raw).payload for raw in self.log.read(places, limit=100_000)]


@pytest.fixture
def world(tmp_path: Path, clock: ManualClock, log: SqliteLog) -> Iterator[World]:
    made = World(tmp_path, clock, log)
    made.start()
    made.run(45)
    assert made.ledger.keys() == EVERYTHING
    yield made
    made.store.close()


@pytest.mark.parametrize("away_s", [1, 30])
def test_a_detector_that_comes_back_says_nothing_again_and_accuses_nobody(
    world: World, away_s: int
) -> None:
    before, said = world.ledger, len(world.entries)
    world.kill()
    world.run(away_s)
    world.start()
    world.run(15)
    assert world.accused == set()
    assert world.ledger == before
    assert len(world.entries) == said


def test_what_was_learnt_before_is_missed_at_once_after_a_restart(world: World) -> None:
    """A ledger that learnt anew would wait for thirty samples of each signal first."""
    world.kill()
    world.start()
    world.run(3)
    world.run(8, silent=(ENGINES[0],))
    assert world.accused == {ENGINES[0]}
    entry = world.ledger[ENGINES[0]]
    assert entry.state is Freshness.ABSENT
    assert entry.missing == ("engine.kv_usage", "engine.requests_running")


def test_a_silence_that_began_while_it_was_away_is_found_and_dated_right(world: World) -> None:
    world.kill()
    world.run(10, silent=(ENGINES[0],))
    world.start()
    world.run(2, silent=(ENGINES[0],))
    assert world.ledger[ENGINES[0]].heard_s == START_S + 44.0


def test_when_the_whole_platform_was_down_nobody_is_missed(world: World) -> None:
    world.kill()
    world.clock.sleep(900.0)
    world.start()
    world.run(15)
    assert world.accused == set()
    assert {entry.state for entry in world.ledger.values()} == {Freshness.FRESH}
