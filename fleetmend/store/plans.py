"""Plans: immutable; a changed plan is a new version."""

from sqlalchemy import select

from fleetmend.errors import StoreConflict
from fleetmend.model.plans import Plan
from fleetmend.store.codec import Codec
from fleetmend.store.db import Db
from fleetmend.store.tables import plans

_PLAN = Codec(Plan)


class Plans:
    """Written by remediation, read by everybody who shows or judges a plan."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, plan: Plan) -> bool:
        """Keep this version; False when the very same is held already. Raises StoreConflict when
        the version is held with another content. Its incident must be held."""
        body = _PLAN.encode(plan)
        kept = self._db.run(
            self._db.insert(plans)
            .values(
                id=plan.id,
                version=plan.version,
                incident=plan.incident,
                created_at_s=plan.created_at_s,
                body=body,
            )
            .on_conflict_do_nothing(index_elements=["id", "version"])
        )
        if kept:
            return True
        held = self.get(plan.id, plan.version)
        if held is None or _PLAN.encode(held) != body:
            raise StoreConflict(
                f"plan {plan.id} version {plan.version} is held with another content",
                fix="Give the changed plan a new version.",
            )
        return False

    def get(self, plan_id: str, version: int | None = None) -> Plan | None:
        """This version, or the newest."""
        query = select(plans.c.body).where(plans.c.id == plan_id)
        if version is not None:
            query = query.where(plans.c.version == version)
        row = self._db.row(query.order_by(plans.c.version.desc()).limit(1))
        return None if row is None else _PLAN.decode(row[0])

    def for_incident(self, incident_id: str) -> list[Plan]:
        """Every version of every plan for an incident, oldest first."""
        rows = self._db.rows(
            select(plans.c.body)
            .where(plans.c.incident == incident_id)
            .order_by(plans.c.created_at_s, plans.c.id, plans.c.version)
        )
        return [_PLAN.decode(row[0]) for row in rows]
