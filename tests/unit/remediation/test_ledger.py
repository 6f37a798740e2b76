"""The ledger in the store: one count for all workers, every word on record, nothing said twice."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import FenceLost, StoreConflict, StreamError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.plans import SessionState, StepState
from fleetmend.store import Store
from fleetmend.streams.port import Outgoing
from fleetmend.streams.topics import Topic
from remediation.ledger import Entry
from remediation.notices import StoreNotices
from remediation.publish import KIND, RECEIVER, publish_actions
from remediation.sample import NOW_S
from remediation.session import IllegalChange
from remediation.store_ledger import taken_by
from tests.unit.remediation.bench import Bench
from tests.unit.remediation.race import admitted_of_two


class FakeLog:
    """Keeps what is appended; fails when told to."""

    def __init__(self) -> None:
        self.kept: list[Outgoing] = []
        self.down = False

    def append(self, records: list[Outgoing]) -> None:
        if self.down:
            raise StreamError("no broker")
        self.kept += records


def test_two_workers_never_get_the_last_place_both(fresh_stores: Iterator[Store]) -> None:
    store = next(fresh_stores)

    assert sorted(admitted_of_two(store)) == [False, True]


def test_a_worker_whose_lease_was_taken_over_can_write_nothing(bench: Bench) -> None:
    bench.lost_gpu()
    old = bench.ledger.claim("old", now_s=NOW_S, lease_s=1.0)
    assert old is not None
    new = bench.ledger.claim("new", now_s=NOW_S + 2, lease_s=60.0)
    assert new is not None

    with pytest.raises(FenceLost):
        bench.ledger.check(old)
    with pytest.raises(FenceLost):
        bench.ledger.renew(old, now_s=NOW_S, lease_s=1.0)
    bench.ledger.check(new)


def test_a_change_by_a_person_is_noticed_before_the_next_write(bench: Bench) -> None:
    bench.lost_gpu()
    session = bench.ledger.claim("w", now_s=NOW_S, lease_s=60.0)
    assert session is not None
    with bench.store.transaction() as tx:
        tx.sessions.advance(session, state=SessionState.CANCELLED, reason="undone", at_s=NOW_S)

    with pytest.raises(StoreConflict):
        bench.ledger.check(session)


def test_a_change_that_the_life_of_a_session_does_not_know_is_not_written(bench: Bench) -> None:
    bench.lost_gpu()
    session = bench.ledger.claim("w", now_s=NOW_S, lease_s=60.0)
    assert session is not None
    jump = Entry(NOW_S, AuditVerb.SESSION_CHANGED, {}, state=SessionState.HOLDING)
    with pytest.raises(IllegalChange):
        bench.ledger.write(session, jump)

    assert bench.session(session.id).state is SessionState.PROPOSED


def test_waiting_for_hours_leaves_one_verdict(bench: Bench) -> None:
    session = bench.lost_gpu(witnesses=(Witness.MODEL,))

    bench.work(20)

    with bench.store.reading() as tx:
        assert len(tx.verdicts.for_plan(session.plan)) == 1
    assert bench.verbs(session.id).count(AuditVerb.VERDICT) == 1


def test_what_is_given_back_is_no_longer_out_but_still_counts_as_taken(bench: Bench) -> None:
    session = bench.lost_gpu()
    bench.work()
    plan = bench.plan(session.id)
    assert {t.out for t in taken_by(bench.session(session.id), plan)} == {True}

    bench.resolve()
    bench.work()

    after = taken_by(bench.session(session.id), plan)
    assert [t.action.value for t in after] == ["cordon", "drain"]
    assert {t.out for t in after} == {False}


def test_an_intent_counts_as_taken_before_it_is_carried_out(bench: Bench) -> None:
    session = bench.lost_gpu()
    plan = bench.plan(session.id)
    held = bench.session(session.id)
    assert taken_by(held, plan) == []

    intended = replace(held.steps[0], state=StepState.INTENDED)
    (unit,) = taken_by(replace(held, steps=(intended, *held.steps[1:])), plan)

    assert unit.out


def test_every_change_is_told_to_the_platform_once(bench: Bench) -> None:
    session = bench.lost_gpu()
    bench.work()
    bench.resolve()
    bench.work()
    log = FakeLog()

    while publish_actions(bench.store, log, bench.clock):  # type: ignore[arg-type]
        pass

    told: dict[Topic, list[object]] = {Topic.ACTIONS: [], Topic.EVENTS: []}
    for record in log.kept:
        assert isinstance(record.payload, Event)
        assert record.payload.type is EventType.ACTION
        told[record.topic].append(record.payload.data["action"])
    assert told[Topic.ACTIONS] == ["cordon", "notify", "drain", "uncordon"]
    # What changes something is heard by root cause analysis: else it passes for a fault.
    assert told[Topic.EVENTS] == ["cordon", "drain", "uncordon"]
    node = bench.plan(session.id).steps[0].target
    heard = [r.payload for r in log.kept if r.topic is Topic.EVENTS]
    assert {event.subject for event in heard if isinstance(event, Event)} == {node}


def test_a_broker_that_is_down_is_told_later(bench: Bench) -> None:
    bench.lost_gpu()
    bench.work()
    log = FakeLog()
    log.down = True
    assert publish_actions(bench.store, log, bench.clock) == 0  # type: ignore[arg-type]

    log.down = False
    bench.clock.sleep(60.0)

    assert publish_actions(bench.store, log, bench.clock) == 1  # type: ignore[arg-type]


def test_a_row_that_is_no_event_is_given_up_and_does_not_block(bench: Bench) -> None:
    with bench.store.transaction() as tx:
        tx.outbox.put(id="x", kind=KIND, receiver=RECEIVER, body=b"{", at_s=NOW_S)

    assert publish_actions(bench.store, FakeLog(), bench.clock) == 0  # type: ignore[arg-type]

    with bench.store.reading() as tx:
        assert [row.id for row in tx.outbox.rejected()] == ["x"]


def test_word_is_left_once_and_only_on_incidents_that_exist(bench: Bench) -> None:
    bench.lost_gpu()
    notices = StoreNotices(bench.store, ManualClock(NOW_S), role="remediator")

    for incident in ("i-example", "i-example", "i-unknown"):
        notices.tell(f"n-{incident}", incident=incident, text="look")

    assert notices.told("n-i-example")
    assert not notices.told("n-i-unknown")
    assert bench.notes() == ["look"]
