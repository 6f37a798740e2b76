"""What every database must do for the store. SQLite and PostgreSQL run the same tests.

A subclass brings the fixture `store`: a migrated store of the test's own, at a clock that stands.
"""

import threading
from collections.abc import Callable
from dataclasses import replace

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import BadInput, FenceLost, StoreConflict, StoreError
from fleetmend.model.audit import AuditVerb, verify_chain
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import IncidentStatus, Severity
from fleetmend.model.notifications import NotifyReason
from fleetmend.model.plans import (
    Reason,
    Refusal,
    Session,
    SessionState,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.ports.snapshots import Snapshot
from fleetmend.settings.store import StoreSettings
from fleetmend.store import (
    AlreadyDecided,
    LabelVerdict,
    Notice,
    OutboxState,
    ReceiverOff,
    Store,
    StoreDeadLetters,
    StoreSnapshots,
    Transaction,
)
from tests.contract.store.samples import GPU, NODE, approval, incident, plan, with_plan

SETTINGS = StoreSettings(dead_letters_max=5, series_points_max=20, series_max=2)
"""Small bounds, so that the tests reach them."""


def fresh_store(url: str) -> Store:
    """A migrated store at a clock that stands."""
    store = Store(url, ManualClock(1000.0), settings=SETTINGS)
    store.migrate()
    return store


class UndoneOnPurpose(Exception):
    """Raised by a test inside a transaction."""


def opened(store: Store, *, node: EntityId = NODE, id: str = "p-1") -> Session:
    """A session of a plan of its own."""
    with store.transaction() as tx:
        return tx.sessions.open(
            with_plan(tx, plan(id, node=node)), state=SessionState.PROPOSED, at_s=120.0
        )


def claimed(store: Store, worker: str, *, now_s: float, lease_s: float = 30.0) -> Session | None:
    """What `worker` gets."""
    with store.transaction() as tx:
        return tx.sessions.claim(worker, now_s=now_s, lease_s=lease_s)


def note(tx: Transaction, subject: str, **detail: str | int | float | bool | None) -> int:
    """Append an audit record; its number."""
    record = tx.audit.append(
        at_s=1.5, actor="fleetmend/test", verb=AuditVerb.NOTE, subject=subject, detail=detail
    )
    return record.seq


def write_and_raise(tx: Transaction) -> None:
    """Do something, then end the transaction by an error."""
    with_plan(tx)
    note(tx, "i-1")
    raise UndoneOnPurpose


def all_at_once(work: Callable[[int], None], workers: int) -> list[Exception]:
    """Run `work(0) .. work(workers - 1)` in threads that start together; the StoreErrors that
    ended them."""
    start = threading.Barrier(workers)
    ended: list[int] = []
    raised: list[Exception] = []

    def run(number: int) -> None:
        start.wait(30)
        try:
            work(number)
        except StoreError as error:
            raised.append(error)
        ended.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(ended) == workers, "a thread died of something else or hangs"
    return raised


class TransactionContract:
    """All or nothing."""

    def test_what_a_block_did_before_it_raised_is_undone(self, store: Store) -> None:
        with pytest.raises(UndoneOnPurpose), store.transaction() as tx:
            write_and_raise(tx)

        with store.reading() as tx:
            assert tx.incidents.get("i-1") is None
            assert tx.audit.all() == []

    def test_a_reading_transaction_cannot_write(self, store: Store) -> None:
        with pytest.raises(StoreError), store.reading() as tx:
            tx.incidents.put(incident())

        with store.transaction() as tx:  # and its connection can, once it is used for that
            assert tx.incidents.put(incident())

    def test_a_reader_sees_one_moment_and_does_not_wait_for_a_writer(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident("i-1"))
        with store.reading() as view:
            before = view.incidents.open_count()
            with store.transaction() as tx:
                tx.incidents.put(incident("i-2"))
            assert (before, view.incidents.open_count()) == (1, 1)

    def test_text_that_no_column_takes_is_a_store_error(self, store: Store) -> None:
        with pytest.raises(StoreError), store.transaction() as tx:
            tx.incidents.put(incident("i-\ud800"))


class IncidentContract:
    """Incidents and plans."""

    def test_an_incident_comes_back_as_it_was(self, store: Store) -> None:
        with store.transaction() as tx:
            assert tx.incidents.put(incident())

        with store.reading() as tx:
            assert tx.incidents.get("i-1") == incident()
            assert tx.incidents.get("i-2") is None

    @pytest.mark.parametrize("stale", [1, 2])
    def test_a_version_that_is_not_newer_changes_nothing(self, store: Store, stale: int) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident(version=2))

        with store.transaction() as tx:
            assert not tx.incidents.put(replace(incident(version=stale), title="stale"))
            assert tx.incidents.history("i-1") == [incident(version=2)]
            assert tx.incidents.get("i-1") == incident(version=2)

    def test_history_keeps_every_version_in_order(self, store: Store) -> None:
        resolved = replace(incident(version=3), status=IncidentStatus.RESOLVED)
        with store.transaction() as tx:
            for version in (incident(), incident(version=2), resolved):
                tx.incidents.put(version)

        with store.reading() as tx:
            assert tx.incidents.history("i-1") == [incident(), incident(version=2), resolved]
            assert tx.incidents.open_count() == 0

    def test_pages_follow_each_other_without_gap_or_repeat(self, store: Store) -> None:
        with store.transaction() as tx:
            for number in range(7):  # two each at the same moment
                tx.incidents.put(incident(f"i-{number}", opened_at_s=100.0 + number // 2))

        seen: list[str] = []
        with store.reading() as tx:
            page = tx.incidents.page(limit=3)
            while page:
                seen += [found.id for found in page]
                page = tx.incidents.page(after=page[-1].id, limit=3)

        assert seen == ["i-6", "i-5", "i-4", "i-3", "i-2", "i-1", "i-0"]

    def test_pages_are_filtered_by_status_and_severity(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident("i-1"))
            tx.incidents.put(replace(incident("i-2"), severity=Severity.P0))
            tx.incidents.put(replace(incident("i-3"), status=IncidentStatus.RESOLVED))

        with store.reading() as tx:
            p0 = tx.incidents.page(severity=Severity.P0)
            over = tx.incidents.page(status=IncidentStatus.RESOLVED)
            assert [found.id for found in p0] == ["i-2"]
            assert [found.id for found in over] == ["i-3"]

    def test_a_page_after_an_unknown_incident_is_bad_input(self, store: Store) -> None:
        with pytest.raises(BadInput), store.reading() as tx:
            tx.incidents.page(after="i-\x00")

    def test_hostile_text_is_kept_without_what_no_reader_takes(self, store: Store) -> None:
        hostile = "<script>\x00\ud800 \u202e' OR 1=1 -- \\u0000"
        with store.transaction() as tx:
            tx.incidents.put(replace(incident(), title=hostile))

        with store.reading() as tx:
            found = tx.incidents.get("i-1")
            assert found is not None
            assert found.title == "<script>\ufffd\ufffd \u202e' OR 1=1 -- \\u0000"

    def test_figures_that_json_lacks_come_back(self, store: Store) -> None:
        odd = tuple(
            replace(incident().evidence[0], observed=value)
            for value in (float("inf"), -0.0, 5e-324)
        )
        with store.transaction() as tx:
            tx.incidents.put(replace(incident(), evidence=odd))

        with store.reading() as tx:
            found = tx.incidents.get("i-1")
            assert found is not None
            assert found.evidence == odd

    def test_a_plan_comes_back_and_the_newest_version_is_the_plan(self, store: Store) -> None:
        with store.transaction() as tx:
            with_plan(tx)
            assert tx.plans.put(plan(version=2))
            assert not tx.plans.put(plan(version=2))

            assert tx.plans.get("p-1") == plan(version=2)
            assert tx.plans.get("p-1", 1) == plan()
            assert tx.plans.for_incident("i-1") == [plan(), plan(version=2)]

    def test_a_version_of_a_plan_never_changes(self, store: Store) -> None:
        with store.transaction() as tx:
            with_plan(tx)

        with pytest.raises(StoreConflict), store.transaction() as tx:
            tx.plans.put(replace(plan(), pool="pool-b"))

    def test_a_plan_needs_its_incident(self, store: Store) -> None:
        with pytest.raises(StoreError), store.transaction() as tx:
            tx.plans.put(plan(of="i-none"))


class SessionContract:
    """Leases, fences and who holds a node."""

    def test_a_session_opens_with_all_steps_pending(self, store: Store) -> None:
        session = opened(store)

        assert [record.state for record in session.steps] == [StepState.PENDING] * 2
        assert [record.state for record in session.give_back] == [StepState.PENDING]
        with store.reading() as tx:
            assert tx.sessions.get(session.id) == session
            assert tx.sessions.for_incident("i-1") == [session]
            assert tx.sessions.active() == [session]
            assert tx.sessions.holding_node(NODE) == session

    def test_a_node_is_held_by_one_session_until_it_is_over(self, store: Store) -> None:
        first = opened(store)
        with pytest.raises(StoreConflict):
            opened(store, id="p-2")

        with store.transaction() as tx:
            tx.sessions.advance(first, state=SessionState.DONE, reason="mended", at_s=130.0)
        second = opened(store, id="p-2")

        with store.reading() as tx:
            assert tx.sessions.holding_node(NODE) == second
            assert tx.sessions.active() == [second]

    def test_of_many_that_open_for_one_node_at_once_one_succeeds(self, store: Store) -> None:
        with store.transaction() as tx:
            for number in range(8):
                with_plan(tx, plan(f"p-{number}"))

        def open_one(number: int) -> None:
            with store.transaction() as tx:
                tx.sessions.open(plan(f"p-{number}"), state=SessionState.PROPOSED, at_s=120.0)

        raised = all_at_once(open_one, 8)

        assert [type(error) for error in raised] == [StoreConflict] * 7
        with store.reading() as tx:
            assert len(tx.sessions.active()) == 1

    def test_a_claim_is_a_lease_with_a_higher_fence(self, store: Store) -> None:
        opened(store)

        first = claimed(store, "w-1", now_s=200.0)
        assert first is not None
        assert (first.worker, first.fence, first.lease_until_s) == ("w-1", 1, 230.0)
        assert claimed(store, "w-2", now_s=229.0) is None
        second = claimed(store, "w-2", now_s=230.0)
        assert second is not None
        assert (second.worker, second.fence) == ("w-2", 2)

    def test_the_session_longest_without_a_worker_is_claimed_first(self, store: Store) -> None:
        nodes = [EntityId(f"demo/node/n-{number}") for number in range(3)]
        ids = [opened(store, node=node, id=f"p-{node}").id for node in nodes]
        order: list[str] = []
        for turn in range(6):
            session = claimed(store, "w-1", now_s=200.0 + turn, lease_s=0.5)
            assert session is not None
            order.append(session.id)

        assert sorted(order[:3]) == sorted(ids)
        assert order[3:] == order[:3]

    def test_a_session_that_is_over_is_never_claimed(self, store: Store) -> None:
        session = opened(store)
        with store.transaction() as tx:
            tx.sessions.advance(session, state=SessionState.CANCELLED, reason="no", at_s=130.0)

        assert claimed(store, "w-1", now_s=200.0) is None

    def test_a_renewed_lease_keeps_others_away_and_a_lease_of_nothing_lets_them_in(
        self, store: Store
    ) -> None:
        opened(store)
        held = claimed(store, "w-1", now_s=200.0)
        assert held is not None
        with store.transaction() as tx:
            held = tx.sessions.renew(held, now_s=225.0, lease_s=30.0)
        assert claimed(store, "w-2", now_s=240.0) is None

        with store.transaction() as tx:
            tx.sessions.renew(held, now_s=241.0, lease_s=0.0)
        assert claimed(store, "w-2", now_s=241.0) is not None

    def test_whoever_holds_a_stale_fence_changes_nothing(self, store: Store) -> None:
        opened(store)
        stale = claimed(store, "w-1", now_s=200.0)
        fresh = claimed(store, "w-2", now_s=300.0)
        assert stale is not None
        assert fresh is not None
        done = StepRecord(0, StepState.DONE, 301.0)

        with pytest.raises(FenceLost), store.transaction() as tx:
            tx.sessions.advance(stale, state=SessionState.FAILED, reason="x", at_s=301.0)
        with pytest.raises(FenceLost), store.transaction() as tx:
            tx.sessions.step(stale, done)
        with pytest.raises(FenceLost), store.transaction() as tx:
            tx.sessions.renew(stale, now_s=301.0, lease_s=30.0)

        with store.reading() as tx:
            assert tx.sessions.get(fresh.id) == fresh

    def test_steps_are_recorded_one_by_one_and_never_each_other(self, store: Store) -> None:
        session = opened(store)
        done = StepRecord(0, StepState.DONE, 140.0, attempt=1, detail="cordoned")
        back = StepRecord(0, StepState.INTENDED, 150.0)
        with store.transaction() as tx:
            tx.sessions.step(session, done)
            tx.sessions.step(session, back, giving_back=True)

        with store.reading() as tx:
            found = tx.sessions.get(session.id)
            assert found is not None
            assert found.steps == (done, session.steps[1])
            assert found.give_back == (back,)

    def test_a_step_that_the_plan_lacks_is_refused(self, store: Store) -> None:
        session = opened(store)

        with pytest.raises(StoreError), store.transaction() as tx:
            tx.sessions.step(session, StepRecord(7, StepState.DONE, 140.0))

    def test_a_cancel_is_not_overwritten_by_a_worker_that_has_not_seen_it(
        self, store: Store
    ) -> None:
        opened(store)
        worker = claimed(store, "w-1", now_s=200.0)
        assert worker is not None
        with store.transaction() as tx:
            tx.sessions.advance(worker, state=SessionState.CANCELLED, reason="by ada", at_s=201.0)

        with pytest.raises(StoreConflict), store.transaction() as tx:
            tx.sessions.advance(worker, state=SessionState.RUNNING, reason="go", at_s=202.0)

        with store.transaction() as tx:  # what it did is recorded all the same
            found = tx.sessions.step(worker, StepRecord(0, StepState.DONE, 203.0))
            assert found.state is SessionState.CANCELLED


class DecisionContract:
    """Approvals, verdicts, audit."""

    def test_the_first_decision_wins_and_the_second_hears_of_it(self, store: Store) -> None:
        with store.transaction() as tx:
            with_plan(tx)
            assert tx.approvals.get("p-1", 1) is None
            assert tx.approvals.decide(approval()) == approval()

        with store.transaction() as tx:
            with pytest.raises(AlreadyDecided) as refused:
                tx.approvals.decide(approval(by="bob", granted=False))
            assert refused.value.earlier == approval()
            assert tx.approvals.decide(approval()) == approval()  # the same again is none
            assert tx.approvals.get("p-1", 1) == approval()

    def test_of_many_deciding_at_once_one_wins_and_all_hear_the_same(self, store: Store) -> None:
        with store.transaction() as tx:
            with_plan(tx)

        def decide(number: int) -> None:
            with store.transaction() as tx:
                tx.approvals.decide(approval(by=f"person-{number}"))

        raised = all_at_once(decide, 8)

        with store.reading() as tx:
            winner = tx.approvals.get("p-1", 1)
        assert [type(error) for error in raised] == [AlreadyDecided] * 7
        assert {error.earlier for error in raised if isinstance(error, AlreadyDecided)} == {winner}

    def test_a_decision_needs_its_plan(self, store: Store) -> None:
        with pytest.raises(StoreError), store.transaction() as tx:
            tx.approvals.decide(approval())

    def test_waiting_for_hours_leaves_one_verdict(self, store: Store) -> None:
        def verdict(at_s: float, *refusals: Refusal) -> Verdict:
            reasons = tuple(Reason(refusal, f"at {at_s}") for refusal in refusals)
            return Verdict(plan="p-1", plan_version=1, step=0, at_s=at_s, reasons=reasons)

        with store.transaction() as tx:
            with_plan(tx)
            assert tx.verdicts.put(verdict(1.0, Refusal.APPROVAL_MISSING))
            assert not tx.verdicts.put(verdict(2.0, Refusal.APPROVAL_MISSING))
            assert tx.verdicts.put(verdict(3.0, Refusal.HALTED, Refusal.RATE_EXCEEDED))
            assert not tx.verdicts.put(verdict(4.0, Refusal.RATE_EXCEEDED, Refusal.HALTED))
            assert tx.verdicts.put(verdict(5.0))

            assert [found.at_s for found in tx.verdicts.for_plan("p-1")] == [2.0, 4.0, 5.0]

    def test_the_chain_holds_after_it_went_through_the_database(self, store: Store) -> None:
        with store.transaction() as tx:
            note(tx, "i-1", text="a\x00\ud800b", share=0.1, count=2**53, yes=True, none=None)
            note(tx, "i-1", share=1.0, odd=float("nan"))

        with store.reading() as tx:
            records = tx.audit.all()
            assert verify_chain(records) is None
            assert [record.seq for record in records] == [1, 2]
            assert records[0].detail["share"] == 0.1
            assert tx.audit.page(1, 10) == records[1:]
            assert tx.audit.page(0, 1) == records[:1]

    def test_a_transaction_that_was_undone_leaves_no_gap_in_the_chain(self, store: Store) -> None:
        with pytest.raises(UndoneOnPurpose), store.transaction() as tx:
            write_and_raise(tx)
        with store.transaction() as tx:
            assert note(tx, "i-1") == 1

    def test_the_chain_is_unbroken_under_eight_writers(self, store: Store) -> None:
        def write(number: int) -> None:
            for turn in range(10):
                with store.transaction() as tx:
                    note(tx, f"i-{number}", turn=turn)

        assert all_at_once(write, 8) == []

        with store.reading() as tx:
            records = tx.audit.all()
            assert len(records) == 80
            assert verify_chain(records) is None

    def test_about_finds_what_belongs_to_an_incident_and_what_lies_below_an_entity(
        self, store: Store
    ) -> None:
        session = opened(store)
        with store.transaction() as tx:
            subjects = ["i-1", "i-10", "p-1", session.id, NODE, f"{NODE}0", f"{NODE}/gpu-1"]
            for subject in subjects:
                note(tx, subject)

        with store.reading() as tx:
            assert [found.subject for found in tx.audit.about("i-1")] == ["i-1", "p-1", session.id]
            assert [found.subject for found in tx.audit.about(NODE)] == [NODE, f"{NODE}/gpu-1"]
            assert tx.audit.about("demo/node/%") == []


class DeliveryContract:
    """Outbox, dead letters, what alerting remembers."""

    def put(self, tx: Transaction, id: str, *, receiver: str = "r-1", lane: str = "i-1") -> bool:
        """A row that is due at once."""
        body = b"\x00" + id.encode()
        return tx.outbox.put(
            id=id, kind="notification", receiver=receiver, body=body, at_s=10.0, lane=lane
        )

    def test_the_same_id_is_put_once(self, store: Store) -> None:
        with store.transaction() as tx:
            assert self.put(tx, "o-1")
            assert not self.put(tx, "o-1")
            tx.outbox.delivered("o-1", 11.0)
            assert not self.put(tx, "o-1")

            assert tx.outbox.due(100.0, 10) == []
            found = tx.outbox.get("o-1")
            assert found is not None
            assert (found.body, found.state) == (b"\x00o-1", OutboxState.DELIVERED)

    def test_a_lane_keeps_its_order_while_others_go_on(self, store: Store) -> None:
        with store.transaction() as tx:
            for id in ("o-1", "o-2"):
                self.put(tx, id)
            self.put(tx, "o-3", lane="i-2")
            self.put(tx, "o-4", receiver="r-2")
            for id in ("o-5", "o-6"):
                self.put(tx, id, lane="")
            tx.outbox.retry("o-1", 60.0, "503")

            ids = [row.id for row in tx.outbox.due(20.0, 10)]
            assert ids == ["o-3", "o-4", "o-5", "o-6"]
            assert tx.outbox.due(60.0, 10, receiver="r-1")[0].id == "o-1"
            tx.outbox.reject("o-1", "gone")
            assert "o-2" in [row.id for row in tx.outbox.due(20.0, 10)]

    def test_a_row_that_is_held_by_one_loop_is_not_due_for_another(self, store: Store) -> None:
        with store.transaction() as tx:
            self.put(tx, "o-1")
            taken = tx.outbox.due(10.0, 10, hold_s=30.0)
            assert [row.id for row in taken] == ["o-1"]

        with store.transaction() as tx:
            assert tx.outbox.due(39.0, 10) == []
            found = tx.outbox.due(40.0, 10)
            assert [(row.id, row.attempts) for row in found] == [("o-1", 0)]

    def test_many_loops_take_each_row_once(self, store: Store) -> None:
        with store.transaction() as tx:
            for number in range(40):
                self.put(tx, f"o-{number}", lane=f"i-{number}")
        taken: list[str] = []

        def take(_number: int) -> None:
            for _turn in range(10):
                with store.transaction() as tx:
                    taken.extend(row.id for row in tx.outbox.due(10.0, 5, hold_s=30.0))

        assert all_at_once(take, 4) == []
        assert sorted(taken) == sorted(f"o-{number}" for number in range(40))

    def test_what_was_given_up_can_be_replayed(self, store: Store) -> None:
        with store.transaction() as tx:
            self.put(tx, "o-1")
            tx.outbox.retry("o-1", 15.0, "503")
            tx.outbox.reject("o-1", "404 not found")
            (given_up,) = tx.outbox.rejected()
            assert (given_up.id, given_up.attempts, given_up.detail) == ("o-1", 2, "404 not found")
            assert tx.outbox.due(100.0, 10) == []

            assert tx.outbox.replay("o-1", 50.0)
            assert not tx.outbox.replay("o-1", 50.0)
            assert tx.outbox.rejected() == []
            assert [(row.id, row.attempts) for row in tx.outbox.due(50.0, 10)] == [("o-1", 0)]

    def test_rows_are_counted_and_delivered_ones_forgotten_in_time(self, store: Store) -> None:
        with store.transaction() as tx:
            for id in ("o-1", "o-2", "o-3"):
                self.put(tx, id)
            tx.outbox.delivered("o-1", 20.0)
            tx.outbox.delivered("o-2", 30.0)
            assert tx.outbox.waiting_for("notification") == ["r-1"]
            assert tx.outbox.waiting_for("action") == []
            assert tx.outbox.forget_delivered(30.0) == 1
            counts = {OutboxState.DELIVERED: 1, OutboxState.PENDING: 1}
            assert tx.outbox.counts() == counts

    def test_dead_letters_are_bounded_but_their_count_is_not(self, store: Store) -> None:
        letters = StoreDeadLetters(store)
        for number in range(8):
            where = f"line {number}\x00"
            letters.put(DeadLetter(1.0, "scrape", where, "no number", b"\xff" * 5000))
        letters.put(DeadLetter(2.0, "kmsg", "line 1", "too long", b""))

        with store.reading() as tx:
            kept = tx.dead_letters.page(100)
            assert [letter.where for letter in kept[:2]] == ["line 1", "line 7\ufffd"]
            assert len(kept) == 5  # the suite's `dead_letters_max`
            assert kept[1].payload == b"\xff" * 4096
            assert tx.dead_letters.counts() == {"kmsg": 1, "scrape": 8}

    def test_receivers_are_remembered(self, store: Store) -> None:
        notice = Notice(
            version=2,
            reason=NotifyReason.OPENED,
            severity=Severity.P1,
            cause="gpu_lost demo/gpu/GPU-1",
            closed=False,
            at_s=10.0,
        )
        off = ReceiverOff("r-1", "digest", 10.0, "410 Gone")
        with store.transaction() as tx:
            tx.incidents.put(incident())
            assert tx.notices.get("r-1", "i-1") is None
            tx.notices.put("r-1", "i-1", notice)
            tx.notices.put("r-1", "i-1", replace(notice, version=3))
            tx.receivers_off.put(off)
            tx.receivers_off.put(off)

            assert tx.notices.get("r-1", "i-1") == replace(notice, version=3)
            assert tx.receivers_off.all() == [off]
            assert tx.receivers_off.remove("r-1")
            assert not tx.receivers_off.remove("r-1")


class FoldContract:
    """Snapshots and positions, charts, notes and labels."""

    def test_the_newest_three_snapshots_of_each_fold_are_kept(self, store: Store) -> None:
        snapshots = StoreSnapshots(store)
        assert snapshots.latest("rca") is None
        for tick in (1, 2, 4, 3):
            snapshots.save(Snapshot("rca", tick, bytes([tick])))
        snapshots.save(Snapshot("rca", 4, b"again"))
        snapshots.save(Snapshot("detection", 9, b"other"))

        assert snapshots.latest("rca") == Snapshot("rca", 4, b"again")
        assert snapshots.latest("detection") == Snapshot("detection", 9, b"other")
        with store.transaction() as tx:
            assert tx.snapshots.ticks("rca") == [4, 3, 2]

    def test_positions_are_replaced_whole(self, store: Store) -> None:
        with store.transaction() as tx:
            assert tx.positions.get("intake") == {}
            tx.positions.set("intake", {"incidents/0": 2**40, "topology/0": 1})
            tx.positions.set("intake", {"incidents/0": 2**40 + 1})

            assert tx.positions.get("intake") == {"incidents/0": 2**40 + 1}

    def test_charts_are_replaced_and_bounded(self, store: Store) -> None:
        times = [float(number) for number in range(30)]
        with store.transaction() as tx:
            tx.incidents.put(incident())
            assert tx.series.put("i-1", GPU, "gpu.power", times, times, "W")
            assert tx.series.put("i-1", GPU, "gpu.power", [1, 2, 3], [4, float("nan"), 6], "W")
            assert tx.series.put("i-1", GPU, "gpu.temp", times, times, "C")
            assert not tx.series.put("i-1", GPU, "gpu.sm_clock", times, times, "MHz")
            power, temperature = tx.series.for_incident("i-1")

        assert (power.signal, power.unit) == ("gpu.power", "W")
        assert (power.times_s, power.values) == ((1.0, 3.0), (4.0, 6.0))
        assert temperature.times_s == tuple(times[-20:])  # the suite's `series_points_max`

    def test_a_chart_with_more_times_than_values_is_bad_input(self, store: Store) -> None:
        with pytest.raises(BadInput), store.transaction() as tx:
            tx.series.put("i-1", GPU, "gpu.power", [1.0, 2.0], [1.0], "W")

    def test_notes_and_labels_stay_with_their_incident(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident())
            first = tx.notes.add("i-1", "ada", 1.0, "looks like the riser")
            second = tx.notes.add("i-1", "bob", 0.5, "<b>\x00</b>")
            tx.labels.put("i-1", "gpu_lost", GPU, LabelVerdict.REJECT, "ada", 1.0)
            label = tx.labels.put("i-1", "gpu_lost", GPU, LabelVerdict.CONFIRM, "ada", 2.0)

            assert tx.notes.for_incident("i-1") == [first, second]
            assert second.text == "<b>\ufffd</b>"
            assert tx.labels.for_incident("i-1") == [label]
            assert tx.notes.for_incident("i-2") == []


class StoreContract(
    TransactionContract,
    IncidentContract,
    SessionContract,
    DecisionContract,
    DeliveryContract,
    FoldContract,
):
    """All of it."""
