"""The part of the contract on: sessions: leases, fences and who holds a node."""

from dataclasses import replace

import pytest

from fleetmend.errors import FenceLost, StoreConflict, StoreError
from fleetmend.model.entities import EntityId
from fleetmend.model.plans import (
    SessionState,
    StepRecord,
    StepState,
)
from fleetmend.store import (
    Store,
)
from tests.contract.store.doing import all_at_once, claimed, opened
from tests.contract.store.samples import NODE, plan, with_plan


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
            assert tx.sessions.holding([NODE]) == session

    def test_a_node_is_held_by_one_session_until_it_is_over(self, store: Store) -> None:
        first = opened(store)
        with pytest.raises(StoreConflict):
            opened(store, id="p-2")

        with store.transaction() as tx:
            tx.sessions.advance(first, state=SessionState.DONE, reason="mended", at_s=130.0)
        second = opened(store, id="p-2")

        with store.reading() as tx:
            assert tx.sessions.holding([NODE]) == second
            assert tx.sessions.active() == [second]

    def test_a_session_holds_every_node_of_its_plan_until_it_is_over(self, store: Store) -> None:
        other = EntityId("demo/node/n-2")
        with store.transaction() as tx:
            made = plan("p-1")
            second = replace(made.steps[1], target=other)
            both = replace(made, steps=(made.steps[0], second))
            session = tx.sessions.open(with_plan(tx, both), state=SessionState.PROPOSED, at_s=120.0)
        for node in (NODE, other):
            with pytest.raises(StoreConflict, match="is held by session"):
                opened(store, node=node, id=f"p-{node}")

        with store.transaction() as tx:
            assert tx.sessions.holding([other, NODE]) == session
            assert tx.sessions.holding([other, NODE], but=session.id) is None
            tx.sessions.advance(session, state=SessionState.DONE, reason="mended", at_s=130.0)
        opened(store, node=other, id="p-3")
        opened(store, node=NODE, id="p-4")

    def test_a_session_that_lets_go_is_still_active_and_may_hold_again(self, store: Store) -> None:
        first = opened(store)
        with store.transaction() as tx:
            tx.sessions.let_go(first)
            assert tx.sessions.holding([NODE]) is None
            assert tx.sessions.active() == [first]
            for _ in range(2):  # again changes nothing
                tx.sessions.hold(first, [NODE])
            assert tx.sessions.holding([NODE]) == first
            tx.sessions.let_go(first)
        second = opened(store, id="p-2")

        with store.transaction() as tx:
            with pytest.raises(StoreConflict, match="is held by session"):
                tx.sessions.hold(first, [NODE])
            assert tx.sessions.holding([NODE], but=first.id) == second

    def test_whoever_is_refused_a_node_can_go_on_in_the_same_transaction(
        self, store: Store
    ) -> None:
        opened(store)
        with store.transaction() as tx:
            other = with_plan(tx, plan("p-2"))
            with pytest.raises(StoreConflict, match="is held by session"):
                tx.sessions.open(other, state=SessionState.PROPOSED, at_s=121.0)
            assert tx.plans.get("p-2") == other

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
