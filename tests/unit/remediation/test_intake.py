"""The intake: each incident once, whatever dies; nothing is taken before the picture is whole."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import OffsetsLost, StoreConflict, StoreError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import RelationKind, TopologyChange, TopologyOp
from fleetmend.model.findings import FindingState
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import SessionState
from fleetmend.model.ticks import Mark
from fleetmend.store import Store, Transaction
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Log, Outgoing, Payload, RawRecord, Record, TopicPartition
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from remediation.intake import CONSUMER, Decode, Intake
from remediation.picture import Picture
from remediation.proposals import Proposals
from remediation.reasons import Why
from remediation.sample import NOW_S, gpu_id, node_id, sample_incident, silence
from remediation.session import is_over
from tests.unit.remediation.bench import BOTH, RUNBOOKS, auto
from tests.unit.remediation.test_crash import Fuse, Killed, Wired


def lost(identity: str = "i-1", *, number: int = 0, version: int = 1) -> Incident:
    incident = sample_incident(
        cause="gpu_fallen_off_bus", entity=gpu_id(number), witnesses=BOTH, symptom="xid.79"
    )
    return replace(incident, id=identity, version=version)


class Line:
    """A log, a store, and intakes that read one into the other."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.clock = ManualClock(NOW_S)
        self.store = store
        self.log = SqliteLog(str(folder / "log.db"), clock=self.clock, partitions=2)
        self.notified: list[tuple[int | None, int]] = []
        self.picture = Picture(auto())
        self.intake = self.new_intake()

    def new_intake(
        self, log: Log | None = None, store: Store | None = None, read: Decode = decode
    ) -> Intake:
        """A fresh process."""
        self.picture = Picture(auto())
        proposals = Proposals(self.picture.topology, RUNBOOKS, notify=self.notify)
        return Intake(
            log=log or self.log,
            decode=read,
            store=store or self.store,
            picture=self.picture,
            proposals=proposals,
            clock=self.clock,
        )

    def notify(self, tx: Transaction, previous: Incident | None, incident: Incident) -> None:
        assert tx.incidents.get(incident.id) == incident
        self.notified.append((previous.version if previous else None, incident.version))

    def say(self, topic: Topic, *payloads: Payload) -> None:
        self.log.append([Outgoing(topic, "k", payload) for payload in payloads])

    def take_in(self) -> None:
        """All that is there now."""
        while self.intake.step():
            pass

    def sessions(self) -> list[SessionState]:
        with self.store.reading() as tx:
            return [s.state for i in ("i-1", "i-2") for s in tx.sessions.for_incident(i)]


@pytest.fixture
def line(fresh_stores: Iterator[Store], tmp_path: Path) -> Iterator[Line]:
    store = next(fresh_stores)
    made = Line(store, tmp_path)
    changes = [
        TopologyChange(1.0, TopologyOp.ENTITY, entity)
        for n in range(2)
        for entity in (node_id(n), gpu_id(n))
    ]
    made.say(Topic.TOPOLOGY, *changes)
    for n in range(2):
        made.say(Topic.TOPOLOGY, _part_of(n))
    yield made
    made.log.close()
    store.close()


def _part_of(number: int) -> TopologyChange:
    return TopologyChange(
        1.0, TopologyOp.RELATION, gpu_id(number), node_id(number), RelationKind.PART_OF
    )


def test_an_incident_becomes_a_plan_and_a_session_in_one_go(line: Line) -> None:
    line.say(Topic.INCIDENTS, lost())
    line.intake.start()
    line.take_in()

    with line.store.reading() as tx:
        assert tx.incidents.get("i-1") == lost()
        plans = tx.plans.for_incident("i-1")
        sessions = tx.sessions.for_incident("i-1")
        verbs = [record.verb for record in tx.audit.all()]
        assert tx.positions.get(CONSUMER) == {"incidents/0": 1}
    assert plans[0].steps[0].target == node_id(0)
    assert [s.state for s in sessions] == [SessionState.PROPOSED]
    assert line.notified == [(None, 1)]
    assert verbs == [
        AuditVerb.INCIDENT_OPENED,
        AuditVerb.PLAN_PROPOSED,
        AuditVerb.SESSION_CHANGED,
    ]


def test_reading_again_changes_nothing(line: Line) -> None:
    line.say(Topic.INCIDENTS, lost(), lost(version=2), lost())
    line.intake.start()
    line.take_in()
    with line.store.transaction() as tx:
        tx.positions.set(CONSUMER, {})

    line.intake = line.new_intake()
    line.intake.start()
    line.take_in()

    assert line.notified == [(None, 1), (1, 2)]
    assert line.sessions() == [SessionState.PROPOSED]


def test_a_restart_goes_on_where_the_store_says(line: Line) -> None:
    line.say(Topic.INCIDENTS, lost())
    line.intake.start()
    line.take_in()
    line.say(Topic.INCIDENTS, lost(version=2))

    line.intake = line.new_intake()
    line.intake.start()
    line.take_in()

    assert line.notified == [(None, 1), (1, 2)]
    assert node_id(0) in line.picture.topology


def test_a_kill_at_any_boundary_loses_and_repeats_nothing(line: Line) -> None:
    incidents = [lost(), lost("i-2", number=1), lost(version=2)]
    line.say(Topic.INCIDENTS, *incidents)
    fuse, at = Fuse(at=None), 0
    while True:
        at += 1
        fuse = Fuse(at=at)
        wired = cast(Log, Wired(line.log, fuse))
        store = cast(Store, Wired(line.store, fuse))
        line.intake = line.new_intake(wired, store)
        try:
            line.intake.start()
            line.take_in()
        except Killed:
            continue
        break

    assert at > 5
    assert line.notified == [(None, 1), (None, 1), (1, 2)]
    assert line.sessions() == [SessionState.PROPOSED] * 2


def test_when_the_store_fails_nothing_was_taken_in(line: Line) -> None:
    line.say(Topic.INCIDENTS, lost())
    line.intake.start()
    line.intake.step()  # the topology
    really = line.store.transaction
    line.store.transaction = _failing  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError):
        line.intake.step()
    line.store.transaction = really  # type: ignore[method-assign]

    line.take_in()

    assert line.notified == [(None, 1)]


def _failing() -> None:
    raise StoreError("no disk left")


def first_incident_is_damaged(raw: RawRecord) -> Record:
    damaged = raw.topic is Topic.INCIDENTS and raw.offset == 0
    return decode(replace(raw, value=b"\xff{") if damaged else raw)


def test_what_cannot_be_read_is_kept_as_a_dead_letter(line: Line) -> None:
    line.say(Topic.INCIDENTS, lost(), lost("i-2", number=1))
    line.intake = line.new_intake(read=first_incident_is_damaged)
    line.intake.start()
    line.take_in()

    with line.store.reading() as tx:
        letters = tx.dead_letters.page(10)
        assert tx.incidents.get("i-2") is not None
        assert tx.incidents.get("i-1") is None
    assert [letter.where for letter in letters] == ["incidents/0 offset 0"]


def test_the_picture_is_old_until_log_and_diagnosis_have_caught_up(line: Line) -> None:
    def old() -> str:
        return line.picture.old(line.clock.now_s(), behind_max_s=60.0)

    assert "not been read" in old()
    line.intake.start()
    line.take_in()
    assert "no diagnosis" in old()
    line.say(Topic.INCIDENTS, Mark("rca", NOW_S))
    line.take_in()
    assert old() == ""
    line.clock.sleep(61.0)
    assert "61 s old" in old()


def test_findings_reach_the_picture_and_leave_it(line: Line) -> None:
    gone = silence(gpu_id(0))
    line.intake.start()
    line.say(Topic.FINDINGS, gone)
    line.take_in()
    assert set(line.picture.showing("telemetry_absent").values()) == {gpu_id(0)}

    line.say(Topic.FINDINGS, replace(gone, state=FindingState.CLOSED))
    line.take_in()
    assert not line.picture.showing("telemetry_absent")


def test_lost_offsets_hold_everything_until_the_end_is_reached_again(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of four incidents are gone before they were read; the other two come one by one."""
    line.intake.start()
    line.take_in()
    line.say(Topic.INCIDENTS, *(lost(f"i-{number}") for number in range(4)))
    really, really_begin, fails = line.log.read, line.log.begin, iter([True])

    def read(*args: object, **kwargs: object) -> object:
        if next(fails, False):
            raise OffsetsLost("older than the log")
        return really(*args, **kwargs)  # type: ignore[arg-type]

    def begin(partition: TopicPartition) -> int:
        lost_some = partition.topic is Topic.INCIDENTS and line.log.end(partition) > 0
        return 2 if lost_some else really_begin(partition)

    line.log.read = read  # type: ignore[method-assign, assignment]
    line.log.begin = begin  # type: ignore[method-assign]
    monkeypatch.setattr("remediation.intake.RECORDS_MAX", 1)
    line.intake.step()
    assert "records were lost" in line.picture.behind
    with line.store.reading() as tx:
        assert tx.audit.all()[-1].verb is AuditVerb.NOTE

    line.intake.step()
    assert line.picture.behind != ""
    line.intake.step()
    assert line.picture.behind == ""
    with line.store.reading() as tx:
        kept = [n for n in range(4) if tx.incidents.get(f"i-{n}") is not None]
    assert kept == [2, 3]


def test_an_incident_gets_its_turn_when_the_node_is_free(line: Line) -> None:
    """Also after a restart: who waits is found in the store, not remembered."""
    line.say(Topic.INCIDENTS, lost(), lost("i-2"))
    line.intake.start()
    line.take_in()
    assert line.sessions() == [SessionState.PROPOSED]

    with line.store.transaction() as tx:
        session = tx.sessions.for_incident("i-1")[0]
        assert not is_over(session)
        tx.sessions.advance(session, state=SessionState.CANCELLED, reason="x", at_s=NOW_S)
    line.intake = line.new_intake()
    line.intake.start()
    line.take_in()
    line.clock.sleep(5.0)
    line.intake.step()

    assert line.sessions() == [SessionState.CANCELLED, SessionState.PROPOSED]


@pytest.mark.parametrize("error", [StoreConflict("busy"), KeyError("a defect")])
def test_an_incident_that_fails_holds_up_no_other_and_is_tried_again(
    line: Line, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sorted by id the failing one comes first."""
    line.say(Topic.INCIDENTS, lost("i-1"), lost("i-2", number=1))
    line.intake.start()
    line.take_in()
    with line.store.transaction() as tx:
        for session in tx.sessions.active():
            tx.sessions.advance(
                session, state=SessionState.CANCELLED, reason=Why.APPROVAL_EXPIRED, at_s=NOW_S
            )
    really = Proposals.propose
    failing = {"i-1"}

    def propose(self: Proposals, tx: Transaction, incident: Incident, *, now_s: float) -> bool:
        if incident.id in failing:
            raise error
        return really(self, tx, incident, now_s=now_s)

    monkeypatch.setattr(Proposals, "propose", propose)
    for _ in range(2):
        line.clock.sleep(5.0)
        line.intake.step()
    assert line.sessions() == [
        SessionState.CANCELLED,
        SessionState.CANCELLED,
        SessionState.PROPOSED,
    ]
    assert line.intake.failures == {type(error).__name__: 2}

    failing.clear()
    line.clock.sleep(5.0)
    line.intake.step()
    assert line.sessions() == [SessionState.CANCELLED, SessionState.PROPOSED] * 2
    assert line.intake.failures == {type(error).__name__: 2}


def test_a_sweep_that_could_not_read_the_store_forgets_nobody(line: Line) -> None:
    line.say(Topic.INCIDENTS, lost())
    line.intake.start()
    line.take_in()
    line.clock.sleep(5.0)
    with line.store.transaction() as tx:
        tx.sessions.advance(
            tx.sessions.active()[0],
            state=SessionState.CANCELLED,
            reason=Why.APPROVAL_EXPIRED,
            at_s=line.clock.now_s(),
        )
    line.clock.sleep(5.0)
    really = line.store.reading
    line.store.reading = _failing  # type: ignore[method-assign, assignment]
    with pytest.raises(StoreError):
        line.intake.step()
    line.store.reading = really  # type: ignore[method-assign]

    line.intake.step()

    assert line.sessions() == [SessionState.CANCELLED, SessionState.PROPOSED]


def test_a_resolved_incident_is_audited_and_planned_no_more(line: Line) -> None:
    over = replace(lost(version=2), status=IncidentStatus.RESOLVED, resolved_at_s=NOW_S)
    line.say(Topic.INCIDENTS, lost(), over)
    line.intake.start()
    line.take_in()

    with line.store.reading() as tx:
        verbs = [record.verb for record in tx.audit.all()]
        assert len(tx.plans.for_incident("i-1")) == 1
    assert AuditVerb.INCIDENT_RESOLVED in verbs
