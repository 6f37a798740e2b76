"""One incident: the page, its live parts, notes and labels of people."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from console.context import Console, not_found
from console.figures import kind_word, name_of
from console.notices import Notice, notice
from console.present.axis import Axis, axis
from console.present.case import IncidentCase, PlanCase, read_case
from console.present.causes import cause_key, cause_views
from console.present.evidence import ROWS_SHOWN, Chart, EvidenceView, evidence_view
from console.present.header import head, touched
from console.present.needs import by_incident, coming_back_word, need_row
from console.present.plan import NOTHING_PLANNED, plan_view
from console.present.stakes import Stakes, stakes
from console.present.summary import checks, sentences
from console.present.timeline import SHOWN_MAX, timeline
from console.problems import Problem
from console.words import ABSTENTION
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import Incident
from fleetmend.store import LabelVerdict

NAMES_MAX = 12
"""Names of affected entities that are shown of each kind."""


@dataclass(frozen=True, slots=True)
class AffectedGroup:
    """Affected entities of one kind."""

    kind: str
    names: tuple[str, ...]
    more: int


def routes(console: Console) -> APIRouter:
    """`/incidents/{id}` and what belongs to it."""
    router = APIRouter(include_in_schema=False)

    @router.get("/i/{incident_id}")
    def short(incident_id: str) -> RedirectResponse:
        with console.deps.store.reading() as tx:
            found = tx.incidents.get(incident_id)
        if found is None:
            raise not_found("incident")
        return RedirectResponse(f"/incidents/{found.id}", 303)

    @router.get("/incidents/{incident_id}")
    def incident(request: Request, incident_id: str, said: str = "") -> HTMLResponse:
        return incident_page(console, request, incident_id, notice=notice(said))

    @router.get("/incidents/{incident_id}/live")
    def live(request: Request, incident_id: str) -> HTMLResponse:
        return live_parts(console, request, incident_id)

    @router.post("/incidents/{incident_id}/notes")
    def add_note(request: Request, incident_id: str, text: Annotated[str, Form()]) -> Response:
        operator = console.require(request)
        if not text.strip():
            raise Problem(422, "empty", "A note needs words.")
        now_s = console.deps.clock.now_s()
        with console.deps.store.transaction() as tx:
            if tx.incidents.get(incident_id) is None:
                raise not_found("incident")
            note = tx.notes.add(incident_id, operator.name, now_s, text.strip())
            tx.audit.append(
                at_s=now_s,
                actor=operator.name,
                verb=AuditVerb.NOTE,
                subject=incident_id,
                detail={"text": note.text},
            )
        return _after(console, request, incident_id, "noted")

    @router.post("/incidents/{incident_id}/labels")
    def label(
        request: Request,
        incident_id: str,
        key: Annotated[str, Form()],
        verdict: Annotated[LabelVerdict, Form()],
    ) -> Response:
        operator = console.require(request)
        now_s = console.deps.clock.now_s()
        with console.deps.store.transaction() as tx:
            found = tx.incidents.get(incident_id)
            if found is None:
                raise not_found("incident")
            cause = next((c for c in found.causes if cause_key(c) == key), None)
            if cause is None:
                raise Problem(422, "no_such_cause", "The incident has no such cause by now.")
            tx.labels.put(incident_id, cause.cause, cause.entity, verdict, operator.name, now_s)
            tx.audit.append(
                at_s=now_s,
                actor=operator.name,
                verb=AuditVerb.CAUSE_LABELLED,
                subject=incident_id,
                detail={
                    "verdict": verdict.value,
                    "cause": cause.cause,
                    "entity": cause.entity,
                },
            )
        return _after(console, request, incident_id, "labelled")

    return router


def incident_page(
    console: Console,
    request: Request,
    incident_id: str,
    *,
    notice: Notice | None = None,
    status: int = 200,
) -> HTMLResponse:
    """The whole page; decisions that failed show it too, with what happened."""
    context = _context(console, request, incident_id)
    return console.pages.page(request, "incident.html", status=status, notice=notice, **context)


def live_parts(console: Console, request: Request, incident_id: str) -> HTMLResponse:
    """Every card anew, as partials that htmx puts in place."""
    context = _context(console, request, incident_id)
    return console.pages.page(request, "incident_live.html", **context)


def _after(console: Console, request: Request, incident_id: str, said: str) -> Response:
    """What follows a change: fresh parts for scripts, the page again without."""
    if request.headers.get("hx-request") == "true":
        return live_parts(console, request, incident_id)
    return RedirectResponse(f"/incidents/{incident_id}?said={said}", 303)


def _context(console: Console, request: Request, incident_id: str) -> dict[str, Any]:
    with console.deps.store.reading() as tx:
        case = read_case(tx, incident_id)
    if case is None:
        raise not_found("incident")
    now_s = console.deps.clock.now_s()
    need = console.deps.decisions.need_of(incident_id)
    back = by_incident(console.deps.decisions.coming_back()).get(incident_id)
    evidence = evidence_view(case, points_max=console.deps.settings.chart_points_max)
    axis_view = axis(case, now_s=now_s)
    current = case.current
    others = [p for p in case.plans if p is not current]
    return {
        "head": head(case, now_s=now_s, back=coming_back_word(back) if back else None),
        "need": need_row(need) if need is not None else None,
        "live_tokens": _tokens(case),
        "sentences": sentences(case),
        "checks": checks(case.incident.next_check),
        "abstention": ABSTENTION[case.incident.abstention],
        "evidence": evidence,
        "rows_shown": ROWS_SHOWN,
        "axis": axis_view,
        "as_table": request.query_params.get("view") == "table",
        "chart_data": chart_data(evidence, axis_view),
        "causes": cause_views(case),
        "plan": plan_view(current, now_s=now_s) if current else None,
        "stakes": _stakes(console, current),
        "no_plan": NOTHING_PLANNED[not case.incident.causes],
        "other_plans": [plan_view(p, now_s=now_s) for p in others],
        "affected": _affected(case.incident),
        "affected_word": f"{len(touched(case.incident))} in all",
        "items": timeline(case),
        "shown": SHOWN_MAX,
    }


def _stakes(console: Console, current: PlanCase | None) -> Stakes | None:
    """Only while somebody is asked: the fleet is read for it."""
    fleet = console.deps.fleet
    if fleet is None or current is None or not current.needs_person:
        return None
    return stakes(fleet.now(), current.plan, current.session)


def chart_data(evidence: EvidenceView, axis_view: Axis) -> dict[str, Any]:
    """What web/src/charts.ts draws: JSON inside the page."""
    return {
        "from": axis_view.from_s,
        "to": axis_view.to_s,
        "marks": [{"at": m.at_s, "tone": m.tone} for m in axis_view.marks],
        "charts": [
            {
                **_points(row.chart),
                "low": row.chart.low,
                "high": row.chart.high,
                "unit": row.chart.unit,
            }
            for row in evidence.charts
            if row.chart is not None
        ],
    }


def _points(chart: Chart) -> dict[str, list[float | None]]:
    """The points of a chart; where nothing was heard for long, one without a value, so that no line
    is drawn through silence."""
    times, values = chart.times_s, chart.values
    x: list[float | None] = []
    y: list[float | None] = []
    peers: list[float | None] = []
    for i, time_s in enumerate(times):
        if i in chart.silences:
            x.append(round((times[i - 1] + time_s) / 2, 2))
            y.append(None)
            if chart.peers:
                peers.append(_short((chart.peers[i - 1] + chart.peers[i]) / 2))
        x.append(round(time_s, 2))
        y.append(_short(values[i]))
        if chart.peers:
            peers.append(_short(chart.peers[i]))
    return {"x": x, "y": y, "peers": peers}


def _short(value: float) -> float:
    """Five digits are more than a chart can show, and half the bytes."""
    return float(f"{value:.5g}")


def _tokens(case: IncidentCase) -> str:
    """Ids whose changes concern this page."""
    ids = [case.incident.id]
    for found in case.plans:
        ids.append(found.plan.id)
        if found.session is not None:
            ids.append(found.session.id)
    return " ".join(ids)


def _affected(incident: Incident) -> list[AffectedGroup]:
    by_kind: dict[str, list[str]] = defaultdict(list)
    for entity in touched(incident):
        by_kind[kind_word(entity)].append(name_of(entity))
    return [
        AffectedGroup(kind, tuple(names[:NAMES_MAX]), max(0, len(names) - NAMES_MAX))
        for kind, names in by_kind.items()
    ]
