"""What has changed in the store since the last look. Called by the watcher, twice a second, once
for all readers; plain and synchronous, so that it runs beside the event loop.
"""

from dataclasses import dataclass

from console.live.hub import Data
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import Session
from fleetmend.store import Store, Transaction

OPEN_MAX = 500
"""Open incidents that are followed; the store gives no longer page."""
AUDIT_STEP_MAX = 500

_LIVE = (IncidentStatus.OPEN, IncidentStatus.MITIGATED)


@dataclass(frozen=True, slots=True)
class Change:
    """One event of the stream."""

    kind: str
    """`incident`, `session` or `audit`."""
    data: Data


class Changes:
    """Remembers the versions seen last."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._incidents: dict[str, int] | None = None
        self._sessions: dict[str, Session] = {}
        self._audit_seq = 0

    def look(self) -> list[Change]:
        """Everything new since the last call; the first call only learns. Raises StoreError."""
        with self._store.reading() as tx:
            open_ = [
                i for status in _LIVE for i in tx.incidents.page(status=status, limit=OPEN_MAX)
            ]
            active = {session.id: session for session in tx.sessions.active()}
            first = self._incidents is None
            changes = [] if first else self._compare(tx, open_, active)
            if first:
                self._audit_seq = tx.audit.head()
        self._incidents = {incident.id: incident.version for incident in open_}
        self._sessions = active
        return changes

    def _compare(
        self, tx: Transaction, open_: list[Incident], active: dict[str, Session]
    ) -> list[Change]:
        known = self._incidents or {}
        changes = [
            _incident(incident) for incident in open_ if known.get(incident.id) != incident.version
        ]
        gone = known.keys() - {incident.id for incident in open_}
        ended = [tx.incidents.get(incident_id) for incident_id in sorted(gone)]
        changes += [_incident(incident) for incident in ended if incident is not None]
        over = [tx.sessions.get(i) for i in sorted(self._sessions.keys() - active.keys())]
        for session in [*active.values(), *(s for s in over if s is not None)]:
            before = self._sessions.get(session.id)
            if before is None or _face(before) != _face(session):
                changes.append(_session(session))
        return changes + self._audit(tx)

    def _audit(self, tx: Transaction) -> list[Change]:
        records = tx.audit.page(self._audit_seq, AUDIT_STEP_MAX)
        if not records:
            return []
        self._audit_seq = records[-1].seq
        subjects = ",".join(dict.fromkeys(record.subject for record in records[:20]))
        return [Change("audit", {"seq": self._audit_seq, "subjects": subjects})]


def _face(session: Session) -> tuple[object, ...]:
    """What people see of a session: a renewed lease is no news."""
    return (session.state, session.reason, session.steps, session.give_back, session.plan_version)


def _incident(incident: Incident) -> Change:
    return Change(
        "incident",
        {
            "id": incident.id,
            "version": incident.version,
            "status": incident.status.value,
            "severity": incident.severity.value,
            "change": incident.change,
        },
    )


def _session(session: Session) -> Change:
    return Change(
        "session",
        {"id": session.id, "incident": session.incident, "state": session.state.value},
    )
