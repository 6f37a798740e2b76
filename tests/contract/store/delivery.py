"""The part of the contract on: outbox, dead letters and what alerting remembers."""

from dataclasses import replace

from fleetmend.model.incidents import Severity
from fleetmend.model.notifications import NotifyReason
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.store import (
    Notice,
    OutboxState,
    ReceiverOff,
    Store,
    StoreDeadLetters,
    Transaction,
)
from tests.contract.store.doing import all_at_once
from tests.contract.store.samples import incident


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
            assert tx.outbox.forget_delivered(30.0, kind="action") == 0
            assert tx.outbox.forget_delivered(30.0, kind="notification") == 1
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
