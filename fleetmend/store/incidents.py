"""Incidents: the newest version of each, and all versions that came in order."""

from sqlalchemy import func, select, tuple_

from fleetmend.errors import BadInput
from fleetmend.model.incidents import Incident, IncidentStatus, Severity
from fleetmend.store.codec import Codec, plain
from fleetmend.store.db import Db
from fleetmend.store.tables import incident_versions, incidents

_INCIDENT = Codec(Incident)

PAGE_MAX = 500
_OVER = (IncidentStatus.RESOLVED.value, IncidentStatus.MERGED.value)


class Incidents:
    """Written by remediation's intake, read by the console and alerting."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, incident: Incident) -> bool:
        """Keep this version; False (and nothing changed) when it is not newer than the one held."""
        body = _INCIDENT.encode(incident)
        insert = self._db.insert(incidents).values(
            id=incident.id,
            version=incident.version,
            status=incident.status.value,
            severity=incident.severity.value,
            opened_at_s=incident.opened_at_s,
            body=body,
        )
        changed = {
            name: insert.excluded[name]
            for name in ("version", "status", "severity", "opened_at_s", "body")
        }
        newer = incidents.c.version < insert.excluded.version
        upsert = insert.on_conflict_do_update(index_elements=["id"], set_=changed, where=newer)
        if self._db.run(upsert) == 0:
            return False
        self._db.run(
            incident_versions.insert().values(id=incident.id, version=incident.version, body=body)
        )
        return True

    def get(self, incident_id: str) -> Incident | None:
        """The newest version."""
        row = self._db.row(select(incidents.c.body).where(incidents.c.id == incident_id))
        return None if row is None else _INCIDENT.decode(row[0])

    def history(self, incident_id: str) -> list[Incident]:
        """Every version held, oldest first."""
        table = incident_versions
        rows = self._db.rows(
            select(table.c.body).where(table.c.id == incident_id).order_by(table.c.version)
        )
        return [_INCIDENT.decode(row[0]) for row in rows]

    def page(
        self,
        status: IncidentStatus | None = None,
        severity: Severity | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> list[Incident]:
        """Newest opened first. `after` is the id of the last incident of the page before; raises
        BadInput when there is no such incident. At most 500."""
        key = tuple_(incidents.c.opened_at_s, incidents.c.id)
        query = select(incidents.c.body)
        if status is not None:
            query = query.where(incidents.c.status == status.value)
        if severity is not None:
            query = query.where(incidents.c.severity == severity.value)
        if after is not None:
            last = self._db.row(
                select(incidents.c.opened_at_s, incidents.c.id).where(
                    incidents.c.id == plain(after)
                )
            )
            if last is None:
                raise BadInput(f"no incident {after[:80]!r} to go on after", where="cursor")
            query = query.where(key < tuple_(last[0], last[1]))
        query = query.order_by(incidents.c.opened_at_s.desc(), incidents.c.id.desc())
        rows = self._db.rows(query.limit(max(1, min(limit, PAGE_MAX))))
        return [_INCIDENT.decode(row[0]) for row in rows]

    def open_count(self) -> int:
        """How many are neither resolved nor merged into another."""
        return self._db.number(
            select(func.count()).select_from(incidents).where(incidents.c.status.not_in(_OVER))
        )
