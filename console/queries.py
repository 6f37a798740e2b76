"""What pages and the API read from the store, in one view of one moment each.

Called by the routes; builders in `console.present` turn the results into what is shown.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from console.present.case import PlanCase, plan_case, read_plans
from console.present.fleet import Past
from console.present.needs import coming_back_word
from console.present.rows import IncidentRow, SessionRow, incident_row, session_row
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident, IncidentStatus, Severity
from fleetmend.model.plans import Session
from fleetmend.store import Transaction, nodes_held_by
from remediation.service import ComingBack

PAST_MAX = 60
"""Resolved incidents that the figures of the fleet page look back on."""
RECENT_S = 86_400.0
RECENT_MAX = 40


class Facet(StrEnum):
    """Which incidents a list shows."""

    ACTIVE = "active"
    """Open or mitigated: the default."""
    OPEN = "open"
    MITIGATED = "mitigated"
    RESOLVED = "resolved"
    MERGED = "merged"
    ALL = "all"


_STATUSES: dict[Facet, tuple[IncidentStatus | None, ...]] = {
    Facet.ACTIVE: (IncidentStatus.OPEN, IncidentStatus.MITIGATED),
    Facet.ALL: (None,),
    **{Facet(status.value): (status,) for status in IncidentStatus},
}


@dataclass(frozen=True, slots=True)
class Page:
    """One page of incidents; `next` is the cursor of the one after it, empty on the last."""

    incidents: tuple[Incident, ...]
    next: str


def incidents_page(
    tx: Transaction, *, facet: Facet, severity: Severity | None, after: str | None, limit: int
) -> Page:
    """Newest first. Raises BadInput for a cursor that names no incident."""
    found = [
        incident
        for status in _STATUSES[facet]
        for incident in tx.incidents.page(
            status=status, severity=severity, after=after, limit=limit + 1
        )
    ]
    found.sort(key=lambda i: (i.opened_at_s, i.id), reverse=True)
    shown = tuple(found[:limit])
    return Page(shown, shown[-1].id if len(found) > limit else "")


def incident_rows(
    tx: Transaction,
    incidents: tuple[Incident, ...],
    *,
    needs: Collection[str] = (),
    backs: Mapping[str, ComingBack] | None = None,
) -> list[IncidentRow]:
    """Rows with what the automation does about each. `needs`: incidents that wait for a person;
    `backs`: capacity that resolved incidents still hold, by incident."""
    rows = []
    for incident in incidents:
        plans = read_plans(tx, incident.id)
        under_way = [p for p in plans if p.session is not None and not p.over]
        current = (under_way or plans)[-1] if plans else None
        back = (backs or {}).get(incident.id)
        rows.append(
            incident_row(
                incident,
                current,
                needs_me=incident.id in needs,
                back=coming_back_word(back) if back is not None else None,
            )
        )
    return rows


def open_incidents(tx: Transaction, limit: int = 500) -> tuple[Incident, ...]:
    """Those neither resolved nor merged, newest first."""
    page = incidents_page(tx, facet=Facet.ACTIVE, severity=None, after=None, limit=limit)
    return page.incidents


def plan_of(tx: Transaction, session: Session) -> PlanCase | None:
    """The plan of a session, in the version that the session carries out."""
    plan = tx.plans.get(session.plan, session.plan_version)
    return None if plan is None else plan_case(tx, plan, session)


def session_rows(tx: Transaction, sessions: list[Session]) -> list[SessionRow]:
    """Rows in the order given."""
    rows = []
    for session in sessions:
        found = plan_of(tx, session)
        if found is not None:
            incident = tx.incidents.get(session.incident)
            rows.append(session_row(found, session, incident.title if incident else ""))
    return rows


def recent_sessions(tx: Transaction, now_s: float) -> list[Session]:
    """Under way, or changed within a day; last changed first."""
    found = sorted(tx.sessions.since(now_s - RECENT_S), key=lambda s: -s.updated_at_s)
    return found


def past(tx: Transaction) -> list[Past]:
    """The newest resolved incidents with what was done about them."""
    found = []
    for incident in tx.incidents.page(status=IncidentStatus.RESOLVED, limit=PAST_MAX):
        plans = read_plans(tx, incident.id)
        acted = any(p.acted and p.over_well for p in plans)
        found.append(Past(incident, acted, any(p.approval is not None for p in plans)))
    return found


def held_nodes(tx: Transaction) -> frozenset[EntityId]:
    """Nodes that sessions have taken out: those in which a step has been done."""
    nodes: set[EntityId] = set()
    for session in tx.sessions.active():
        plan = tx.plans.get(session.plan, session.plan_version)
        if plan is not None and any(r.state.value in ("done", "found_done") for r in session.steps):
            nodes.update(nodes_held_by(plan))
    return frozenset(nodes)
