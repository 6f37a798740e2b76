"""Intake and executor in turn: from a record in the log to a cordoned node, and on when the log
fails."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fleetmend.errors import StreamError
from fleetmend.model.entities import EntityId, RelationKind, TopologyChange, TopologyOp
from fleetmend.model.incidents import IncidentStatus
from fleetmend.model.plans import SessionState
from fleetmend.model.ticks import Mark
from fleetmend.settings.remediation import RemediationSettings
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Outgoing, Payload
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from remediation.intake import Intake
from remediation.mender import Mender
from remediation.proposals import Proposals
from remediation.publish import publish_actions
from remediation.sample import NOW_S, gpu_id, node_id, sample_incident
from tests.unit.remediation.bench import BOTH, RUNBOOKS, Bench, quiet

INCIDENT = sample_incident(
    cause="gpu_fallen_off_bus", entity=gpu_id(0), witnesses=BOTH, symptom="xid.79"
)
POOL = EntityId("example/pool/pool")


class Room:
    """The wired parts on the workbench's store and fakes."""

    def __init__(self, bench: Bench, folder: Path) -> None:
        self.bench = bench
        self.log = SqliteLog(str(folder / "log.db"), clock=bench.clock, partitions=1)
        intake = Intake(
            log=self.log,
            decode=decode,
            store=bench.store,
            picture=bench.picture,
            proposals=Proposals(bench.picture.topology, RUNBOOKS, notify=quiet),
            clock=bench.clock,
        )
        self.made = Mender(intake, bench.executor, bench.picture)
        for number in range(2):
            self.say(
                Topic.TOPOLOGY,
                *(
                    TopologyChange(1.0, TopologyOp.ENTITY, entity)
                    for entity in (node_id(number), gpu_id(number))
                ),
                TopologyChange(
                    1.0, TopologyOp.RELATION, gpu_id(number), node_id(number), RelationKind.PART_OF
                ),
                TopologyChange(
                    1.0, TopologyOp.RELATION, node_id(number), POOL, RelationKind.MEMBER_OF
                ),
            )

    def say(self, topic: Topic, *payloads: Payload) -> None:
        self.log.append([Outgoing(topic, "k", payload) for payload in payloads])

    def rounds(self, count: int = 10) -> None:
        for _ in range(count):
            self.made.step()
            publish_actions(self.bench.store, self.log, self.bench.clock)
            self.bench.clock.sleep(1.0)
            self.bench.cluster.settle()
            self.say(Topic.INCIDENTS, Mark("rca", self.bench.clock.now_s()))

    def states(self) -> list[SessionState]:
        with self.bench.store.reading() as tx:
            return [session.state for session in tx.sessions.for_incident(INCIDENT.id)]


@pytest.fixture
def room(bench: Bench, tmp_path: Path) -> Iterator[Room]:
    made = Room(bench, tmp_path)
    yield made
    made.log.close()


def test_from_a_record_in_the_log_to_the_cluster_and_back(room: Room) -> None:
    room.say(Topic.INCIDENTS, INCIDENT, Mark("rca", NOW_S))
    room.rounds()
    assert room.bench.cluster.changes == ["quarantine node-0", "evict engine-0"]
    assert room.states() == [SessionState.HOLDING]

    over = replace(INCIDENT, version=2, status=IncidentStatus.RESOLVED, resolved_at_s=NOW_S - 500)
    room.say(Topic.INCIDENTS, over)
    room.rounds()

    assert room.states() == [SessionState.DONE]
    assert room.bench.cluster.changes[-1] == "release node-0"
    actions = room.log.end(room.log.partitions(Topic.ACTIONS)[0])
    assert actions == 4


@pytest.mark.parametrize("error", [StreamError("no broker"), KeyError("a defect")])
def test_while_the_log_fails_nothing_is_taken_and_all_is_given_back(
    room: Room, error: Exception
) -> None:
    room.say(Topic.INCIDENTS, INCIDENT, Mark("rca", NOW_S))
    room.rounds()
    second = room.bench.lost_gpu(entity=gpu_id(1), incident_id="i-second")
    room.bench.resolve(INCIDENT.id)

    def broken(*args: object, **kwargs: object) -> object:
        raise error

    room.log.read = broken  # type: ignore[method-assign, assignment]
    for _ in range(10):
        with pytest.raises(type(error)):
            room.made.step()
        room.bench.clock.sleep(1.0)

    assert room.states() == [SessionState.DONE]
    assert "catching_up" in room.bench.session(second.id).reason
    assert room.bench.cluster.changes[-1] == "release node-0"


def test_a_lease_must_outlive_the_calls_that_are_made_under_it() -> None:
    with pytest.raises(ValueError, match="lease_s"):
        RemediationSettings(lease_s=8.0, request_timeout_s=5.0)
