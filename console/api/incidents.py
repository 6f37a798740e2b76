"""Incidents, their plans and the fleet as JSON."""

from dataclasses import dataclass
from typing import Any

from fastapi import APIRouter, Response

from console.context import Console, not_found
from console.pages.fleet import map_blocks
from console.present.case import PlanCase, read_case, read_plans
from console.present.fleet import STATE_WORDS
from console.queries import Facet, incidents_page
from fleetmend.model.incidents import Incident, Severity
from fleetmend.model.plans import Approval, Plan, Session, Verdict
from fleetmend.store import Label, Note, Series


@dataclass(frozen=True, slots=True)
class IncidentList:
    """A page; `next` goes into `after` for the one that follows."""

    items: tuple[Incident, ...]
    next: str


@dataclass(frozen=True, slots=True)
class PlanDetail:
    """A plan with what became of it."""

    plan: Plan
    session: Session | None
    approval: Approval | None
    verdicts: tuple[Verdict, ...]
    needs_person: bool


@dataclass(frozen=True, slots=True)
class IncidentDetail:
    """An incident with everything around it."""

    incident: Incident
    plans: tuple[PlanDetail, ...]
    notes: tuple[Note, ...]
    labels: tuple[Label, ...]


def routes(console: Console) -> APIRouter:
    """Reads only."""
    router = APIRouter(tags=["incidents"])
    store = console.deps.store

    @router.get("/incidents")
    def incidents(
        status: Facet = Facet.ACTIVE,
        severity: Severity | None = None,
        after: str | None = None,
        limit: int = 50,
    ) -> IncidentList:
        """Newest first; at most 200 a page."""
        bounded = max(1, min(limit, 200))
        with store.reading() as tx:
            page = incidents_page(tx, facet=status, severity=severity, after=after, limit=bounded)
        return IncidentList(page.incidents, page.next)

    @router.get("/incidents/{incident_id}")
    def incident(incident_id: str, response: Response) -> IncidentDetail:
        """The newest version, its plans, notes and labels."""
        with store.reading() as tx:
            case = read_case(tx, incident_id)
        if case is None:
            raise not_found("incident")
        response.headers["etag"] = f'"{case.incident.version}"'
        return IncidentDetail(
            case.incident, tuple(map(plan_detail, case.plans)), case.notes, case.labels
        )

    @router.get("/incidents/{incident_id}/series")
    def series(incident_id: str) -> tuple[Series, ...]:
        """The points behind the evidence charts, not thinned."""
        with store.reading() as tx:
            if tx.incidents.get(incident_id) is None:
                raise not_found("incident")
            return tuple(tx.series.for_incident(incident_id))

    @router.get("/incidents/{incident_id}/plans")
    def plans(incident_id: str) -> tuple[PlanDetail, ...]:
        """The newest version of every plan."""
        with store.reading() as tx:
            if tx.incidents.get(incident_id) is None:
                raise not_found("incident")
            return tuple(map(plan_detail, read_plans(tx, incident_id)))

    @router.get("/fleet")
    def fleet() -> dict[str, Any]:
        """The GPU map: `gpus` are [label, state, busy or null, incident], states by index."""
        with store.reading() as tx:
            blocks = map_blocks(console, tx)
        if blocks is None:
            raise not_found("topology here")
        return {
            "states": STATE_WORDS,
            "pools": [
                {
                    "name": block.name,
                    "nodes": [
                        {
                            "name": node.name,
                            "rack": node.rack,
                            "out": node.out,
                            "gpus": [[g.label, g.state, g.busy, g.incident] for g in node.gpus],
                        }
                        for node in block.nodes
                    ],
                }
                for block in blocks
            ],
        }

    return router


def plan_detail(found: PlanCase) -> PlanDetail:
    """The JSON form of a plan with what became of it."""
    return PlanDetail(
        found.plan,
        found.session,
        found.approval,
        tuple(found.verdicts.values()),
        found.needs_person,
    )
