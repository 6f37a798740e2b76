"""The part of the contract on: approvals, verdicts and the audit chain."""

import pytest

from fleetmend.errors import StoreError
from fleetmend.model.audit import verify_chain
from fleetmend.model.plans import (
    Reason,
    Refusal,
    Verdict,
)
from fleetmend.store import (
    AlreadyDecided,
    Store,
)
from tests.contract.store.doing import UndoneOnPurpose, all_at_once, note, opened, write_and_raise
from tests.contract.store.samples import NODE, approval, with_plan


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

    def test_about_is_read_in_pages_from_either_end(self, store: Store) -> None:
        with store.transaction() as tx:
            for number in range(7):
                note(tx, "i-1" if number % 2 == 0 else "i-2")

        with store.reading() as tx:
            first = tx.audit.about("i-1", limit=2)
            assert [record.seq for record in first] == [1, 3]
            rest = tx.audit.about("i-1", after_seq=3, limit=9)
            assert [record.seq for record in rest] == [5, 7]
            last = tx.audit.about("i-1", before_seq=7, limit=2)
            assert [record.seq for record in last] == [3, 5]
