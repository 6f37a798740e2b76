"""What is done about the outcome of an attempt, in one transaction.

Called by `alerting.service`.
"""

import hashlib
import random
from collections.abc import Sequence

from alerting.retry import next_wait_s
from fleetmend.clock import Clock
from fleetmend.model.audit import AuditVerb
from fleetmend.model.notifications import Delivery, DeliveryState
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.settings.alerting import AlertingSettings, ReceiverSettings
from fleetmend.store import OutboxRow, ReceiverOff, Transaction

ACTOR = "fleetmend/alerting"
SOURCE = "receiver"
"""Of alerting's dead letters."""


def target_of(receiver: ReceiverSettings) -> str:
    """Digest of where a receiver is: a 410 counts for that address alone."""
    return hashlib.blake2b(receiver.url.encode(), digest_size=16).hexdigest()


class Outcomes:
    """Keeps, retries or gives up."""

    def __init__(self, settings: AlertingSettings, clock: Clock, rng: random.Random) -> None:
        self._settings = settings
        self._clock = clock
        self._rng = rng

    def settle(
        self,
        tx: Transaction,
        row: OutboxRow,
        receiver: ReceiverSettings | None,
        delivery: Delivery,
        *,
        untried: Sequence[OutboxRow],
    ) -> None:
        """Write down what became of `row`. When it failed, the receiver's other messages wait a
        little too, `untried` ones of the same batch among them: a receiver that does not answer is
        asked once, not once for each message."""
        now_s = self._clock.now_s()
        if delivery.answer:
            self._bury(tx, row, "the answer could not be understood", delivery.answer)
        match delivery.state:
            case DeliveryState.ACCEPTED:
                tx.outbox.delivered(row.id, now_s)
                self._note(tx, row, delivery)
            case DeliveryState.RETRY:
                self._try_again(tx, row, delivery, untried)
            case DeliveryState.GONE:
                if receiver is not None:
                    off = ReceiverOff(row.receiver, target_of(receiver), now_s, delivery.detail)
                    tx.receivers_off.put(off)
                self._give_up(tx, row, delivery)
            case DeliveryState.REJECTED:
                self._give_up(tx, row, delivery)

    def _try_again(
        self, tx: Transaction, row: OutboxRow, delivery: Delivery, untried: Sequence[OutboxRow]
    ) -> None:
        now_s = self._clock.now_s()
        wait_s = next_wait_s(
            self._settings.retry_s,
            row.attempts + 1,
            retry_after_s=delivery.retry_after_s,
            jitter=self._settings.jitter,
            rng=self._rng,
        )
        if wait_s is None:
            said = f"given up after {row.attempts + 1} attempts: {delivery.detail}"
            self._give_up(tx, row, Delivery(DeliveryState.REJECTED, said))
        else:
            tx.outbox.retry(row.id, now_s + wait_s, delivery.detail)
        # The first wait of the schedule, not this message's: a message that the receiver chokes on
        # must not silence it for hours.
        others_s = max(self._settings.retry_s[0], delivery.retry_after_s or 0.0)
        tx.outbox.hold_all(kind=row.kind, receiver=row.receiver, due_s=now_s + others_s)
        for waiting in untried:  # held for the whole batch so far, which ends here
            tx.outbox.hold(waiting.id, now_s + others_s)

    def _give_up(self, tx: Transaction, row: OutboxRow, delivery: Delivery) -> None:
        tx.outbox.reject(row.id, delivery.detail)
        self._bury(tx, row, delivery.detail, row.body)
        self._note(tx, row, delivery)

    def _bury(self, tx: Transaction, row: OutboxRow, error: str, payload: bytes) -> None:
        where = f"{row.receiver} message {row.id}"
        tx.dead_letters.put(DeadLetter(self._clock.now_s(), SOURCE, where, error, payload))

    def _note(self, tx: Transaction, row: OutboxRow, delivery: Delivery) -> None:
        """The audit record goes last: it holds the lock on the chain."""
        tx.audit.append(
            at_s=self._clock.now_s(),
            actor=ACTOR,
            verb=AuditVerb.NOTIFIED,
            subject=row.lane,
            detail={
                "receiver": row.receiver,
                "message": row.id,
                "outcome": delivery.state.value,
                "said": delivery.detail,
                "attempts": row.attempts + 1,
            },
        )
