"""The public service of alerting: what incidents lead to messages, and the messages' delivery.

`on_incident` runs inside the intake's transaction: whatever it decides stands or falls with the
incident. `deliver_due` is one pass of the delivery loop: it talks to the outside, so never inside a
transaction. Any number of processes may run the loop at once.
"""

import random
from collections.abc import Mapping
from urllib.parse import quote

from alerting.approvals import waiting_approvals
from alerting.decide import ReceiverState, decide, is_sent, notice_of
from alerting.letters import decode, encode
from alerting.outcomes import Outcomes, target_of
from fleetmend.clock import Clock
from fleetmend.errors import BadInput
from fleetmend.model.events import event_id
from fleetmend.model.incidents import Incident
from fleetmend.model.notifications import Delivery, DeliveryState, Notification, NotifyReason
from fleetmend.ports.notifier import Notifier
from fleetmend.settings.alerting import AlertingSettings, ReceiverSettings
from fleetmend.store import OutboxRow, Store, Transaction
from fleetmend.views.names import Names

KIND = "notification"
"""Of alerting's rows in the outbox."""

_HOUR_S = 3600.0


class AlertingService:
    """Thread-safe as far as the store is; one instance for a process."""

    def __init__(
        self,
        store: Store,
        settings: AlertingSettings,
        clock: Clock,
        *,
        notifiers: Mapping[str, Notifier],
        rng: random.Random,
        names: Names | None = None,
    ) -> None:
        """`notifiers` by name, from `channels.build.build_notifiers`; `rng` spreads retries;
        `names` says what people call an entity, else ids are sent."""
        self._store = store
        self._settings = settings
        self._clock = clock
        self._notifiers = notifiers
        self._names = names
        self._outcomes = Outcomes(settings, clock, rng)
        # A batch may take as long as this: nobody else takes its rows meanwhile.
        self._hold_s = settings.timeout_s * (settings.batch_max + 1)
        self._forgot_at_s = 0.0

    def on_incident(self, tx: Transaction, previous: Incident | None, incident: Incident) -> None:
        """Put what receivers should hear of this record into the outbox. The incident must have
        been kept in `tx` before. The same record twice puts nothing twice."""
        for receiver in self._settings.receivers:
            self._tell(tx, receiver, previous, incident, approval="")

    def deliver_due(self) -> int:
        """One pass: ask for decisions that are waited for, then send what is due. The number of
        messages that receivers accepted. Raises StoreError."""
        self._ask_for_decisions()
        now_s = self._clock.now_s()
        with self._store.reading() as tx:
            names = [
                name
                for name in tx.outbox.waiting_for(KIND)
                if tx.outbox.due(now_s, 1, kind=KIND, receiver=name)
            ]
        accepted = sum(self._deliver_to(name) for name in names)
        self._forget_old(now_s)
        return accepted

    def enable(self, receiver: str) -> bool:
        """Switch a receiver on again that answered 410; False when it was on."""
        with self._store.transaction() as tx:
            return tx.receivers_off.remove(receiver)

    def replay(self, message_id: str) -> bool:
        """Try a message again that was given up; False when it was not."""
        with self._store.transaction() as tx:
            return tx.outbox.replay(message_id, self._clock.now_s())

    def _tell(
        self,
        tx: Transaction,
        receiver: ReceiverSettings,
        previous: Incident | None,
        incident: Incident,
        *,
        approval: str,
    ) -> NotifyReason:
        state = ReceiverState(
            severities=frozenset(receiver.severities),
            told=tx.notices.get(receiver.name, incident.id),
            approval=approval,
        )
        reason = decide(previous, incident, state)
        if not is_sent(reason):
            return reason
        now_s, names = self._clock.now_s(), self._names
        notification = Notification(
            id="n-" + event_id(receiver.name, incident.id, incident.version, reason, approval),
            receiver=receiver.name,
            reason=reason,
            incident=incident,
            link=f"{self._settings.console_url}/incidents/{quote(incident.id, safe='')}",
            title="" if names is None else names.in_text(incident.title),
            place="" if names is None else names.place_of(incident.entity),
        )
        tx.outbox.put(
            id=notification.id,
            kind=KIND,
            receiver=receiver.name,
            body=encode(notification),
            at_s=now_s,
            lane=incident.id,
        )
        notice = notice_of(incident, reason, state, at_s=now_s)
        tx.notices.put(receiver.name, incident.id, notice)
        return reason

    def _ask_for_decisions(self) -> None:
        """Look who waits (nobody has to tell us, so nothing is missed after a crash)."""
        with self._store.reading() as tx:
            news = [
                (incident_id, approval)
                for incident_id, approval in waiting_approvals(tx).items()
                if self._unasked(tx, incident_id, approval)
            ]
        for incident_id, approval in news:
            with self._store.transaction() as tx:
                incident = tx.incidents.get(incident_id)
                if incident is not None:
                    for receiver in self._settings.receivers:
                        self._tell(tx, receiver, None, incident, approval=approval)

    def _unasked(self, tx: Transaction, incident_id: str, approval: str) -> bool:
        told = [tx.notices.get(r.name, incident_id) for r in self._settings.receivers]
        return any(n is not None and not n.closed and n.approval != approval for n in told)

    def _deliver_to(self, name: str) -> int:
        """Send one receiver's batch, up to its first failure: one that does not answer costs a pass
        one timeout, however much waits for it."""
        with self._store.transaction() as tx:
            rows = tx.outbox.due(
                self._clock.now_s(),
                self._settings.batch_max,
                kind=KIND,
                receiver=name,
                hold_s=self._hold_s,
            )
            off = {entry.receiver: entry.target for entry in tx.receivers_off.all()}
        accepted = 0
        for position, row in enumerate(rows):
            receiver = self._receiver(name)
            if receiver is None:
                delivery = Delivery(DeliveryState.REJECTED, "no receiver of this name in settings")
            elif off.get(name) == target_of(receiver):
                delivery = Delivery(DeliveryState.REJECTED, "the receiver is off since it said 410")
            else:
                delivery = self._send(row)
            with self._store.transaction() as tx:
                self._outcomes.settle(tx, row, receiver, delivery, untried=rows[position + 1 :])
            accepted += delivery.state is DeliveryState.ACCEPTED
            if delivery.state is DeliveryState.RETRY:
                break
            if delivery.state is DeliveryState.GONE and receiver is not None:
                off[name] = target_of(receiver)
        return accepted

    def _send(self, row: OutboxRow) -> Delivery:
        try:
            notification = decode(row.body)
        except BadInput as error:
            return Delivery(DeliveryState.REJECTED, error.what, answer=row.body)
        return self._notifiers[row.receiver].deliver(notification)

    def _receiver(self, name: str) -> ReceiverSettings | None:
        return next((r for r in self._settings.receivers if r.name == name), None)

    def _forget_old(self, now_s: float) -> None:
        if now_s - self._forgot_at_s < _HOUR_S:
            return
        self._forgot_at_s = now_s
        with self._store.transaction() as tx:
            tx.outbox.forget_delivered(now_s - self._settings.keep_delivered_s, kind=KIND)
