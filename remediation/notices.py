"""Word for people, left on the incident through the store. The `Notices` port of actions."""

from fleetmend.clock import Clock
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType
from fleetmend.store import Store
from remediation.publish import action_row

AUTHOR = "fleetmend"


class StoreNotices:
    """A note, an audit record and an event for the log, in one transaction."""

    def __init__(self, store: Store, clock: Clock, *, role: str) -> None:
        """`role` signs the audit records."""
        self._store = store
        self._clock = clock
        self._actor = f"fleetmend/{role}"

    def told(self, notice: str) -> bool:
        """See `remediation.world.Notices`."""
        with self._store.reading() as tx:
            return tx.outbox.get(notice) is not None

    def tell(self, notice: str, *, incident: str, text: str) -> None:
        """See `remediation.world.Notices`."""
        now_s = self._clock.now_s()
        with self._store.transaction() as tx:
            held = tx.incidents.get(incident)
            if held is None or tx.outbox.get(notice) is not None:
                return
            event = Event(
                id=notice,
                source=self._actor,
                type=EventType.ACTION,
                time_s=now_s,
                subject=EntityId(held.entity),
                data={"action": "notify", "incident": incident, "text": text},
            )
            action_row(tx, event, incident=incident, at_s=now_s)
            tx.notes.add(incident, AUTHOR, now_s, text)
            tx.audit.append(
                at_s=now_s,
                actor=self._actor,
                verb=AuditVerb.NOTIFIED,
                subject=incident,
                detail={"notice": notice, "text": text},
            )
