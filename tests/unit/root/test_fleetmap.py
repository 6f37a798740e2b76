"""The map: who is there, who takes no work whoever saw to that, and who is busy just now."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.fleetmap import BUSY, BUSY_WITHIN_S, FleetMap
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityId, TopologyChange, TopologyOp
from fleetmend.model.plans import SessionState, StepRecord, StepState
from fleetmend.model.samples import SampleBatch
from fleetmend.store import Store
from fleetmend.streams.port import Outgoing
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters
from fleetmend.views.recent import RecentSamples
from tests.unit.console.builder import NOW_S, gpu, incident, node, open_store, plan


class Rig:
    """A map on a log and a store of its own."""

    def __init__(self, folder: Path) -> None:
        self.clock = ManualClock(NOW_S)
        self.log = SqliteLog(":memory:", clock=self.clock, partitions=1)
        self.store: Store = open_store(folder, self.clock)
        self.follower = FleetFollower(self.log, dead_letters=MemoryDeadLetters(), clock=self.clock)
        self.recent = RecentSamples(self.log, keep_s=60.0)
        self.map = FleetMap(self.follower, self.recent, self.store, self.clock)

    def state(self, entity: EntityId, **attributes: str) -> None:
        change = TopologyChange(NOW_S, TopologyOp.ENTITY, entity, attributes=attributes)
        self.log.append([Outgoing(Topic.TOPOLOGY, "prod-1", change)])
        self.follower.step()

    def hear(self, *rows: tuple[float, str, str, float]) -> None:
        self.log.append([Outgoing(Topic.SAMPLES, "n", SampleBatch.from_rows(rows), 0)])
        self.recent.step()

    def take(self, number: int, *states: StepState, back: StepState | None = None) -> None:
        """A session about a node, with what became of its first steps and of giving back."""
        made = plan(f"p-{number}", f"inc-{number}", number=number)
        with self.store.transaction() as tx:
            tx.incidents.put(incident(f"inc-{number}", entity=gpu(number, 1)))
            tx.plans.put(made)
            session = tx.sessions.open(made, state=SessionState.PROPOSED, at_s=NOW_S)
            for index, state in enumerate(states):
                session = tx.sessions.step(session, StepRecord(index, state, NOW_S, 1))
            if back is not None:
                tx.sessions.step(session, StepRecord(0, back, NOW_S, 1), giving_back=True)


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    rig = Rig(tmp_path)
    yield rig
    rig.log.close()
    rig.store.close()


def test_a_node_is_out_from_its_cordon_until_it_is_given_back(rig: Rig) -> None:
    rig.take(1, StepState.DONE, StepState.INTENDED)
    rig.take(2, StepState.INTENDED)
    rig.take(3, StepState.FOUND_DONE, back=StepState.DONE)
    rig.take(4, StepState.FOUND_DONE, back=StepState.INTENDED)
    rig.take(5, StepState.COMPENSATED)

    assert rig.map.now().out == {node(1), node(4)}


def test_a_node_that_others_took_out_is_out_too(rig: Rig) -> None:
    rig.state(node(1), unschedulable="true", ready="true")
    rig.state(node(2), unschedulable="", ready="false")
    rig.state(node(3), unschedulable="", ready="true")

    assert rig.map.now().out == {node(1), node(2)}
    assert set(rig.map.topology().attributes) == {node(1), node(2), node(3)}


def test_busy_is_the_last_thing_heard_and_nothing_old(rig: Rig) -> None:
    rig.state(gpu(1, 0))
    rig.state(gpu(1, 1))
    rig.hear(
        (NOW_S - BUSY_WITHIN_S - 1, gpu(1, 1), BUSY, 0.9),
        (NOW_S - 1, gpu(1, 0), BUSY, 0.2),
        (NOW_S - 2, gpu(1, 0), BUSY, 0.7),
    )
    rig.hear((NOW_S, gpu(9, 9), BUSY, 0.5), (NOW_S, gpu(1, 0), "gpu.power", 300.0))

    busy = rig.map.now().busy

    assert busy[gpu(1, 0)] == 0.2
    assert set(busy) <= {gpu(1, 0), gpu(1, 1)}, "who is not in the fleet is not on its map"
