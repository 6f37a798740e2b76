"""Forms by which people decide: approve, deny, halt, resume. Each ends on a page that says what
became of it; a decision that came second answers 409 and shows who was first."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import RedirectResponse, Response

from console.auth import Operator
from console.context import Console
from console.decide import REASON_CHARS_MAX, decide
from console.notices import failure
from console.pages.incident import incident_page
from console.problems import Problem
from fleetmend.model.plans import Plan, Session
from fleetmend.settings.console import ConsoleRole

_SHOWN = frozenset({409, 412})
"""Refusals that the person should read beside the plan."""


def routes(console: Console) -> APIRouter:
    """`/plans/{id}/approve` and `deny`, `/sessions/{id}/undo`, `/incidents/{id}/renew`, `/halt`,
    `/resume`."""
    router = APIRouter(include_in_schema=False)

    def answer(
        request: Request, plan_id: str, version: int, incident: str, *, granted: bool, reason: str
    ) -> Response:
        operator = console.require(request)
        try:
            decide(console, plan_id, version, operator, granted=granted, reason=reason)
        except Problem as problem:
            if problem.status not in _SHOWN:
                raise
            told = failure(problem.detail)
            return incident_page(console, request, incident, notice=told, status=problem.status)
        said = "approved" if granted else "denied"
        return RedirectResponse(f"/incidents/{incident}?said={said}#plan", 303)

    @router.post("/plans/{plan_id}/approve")
    def approve(
        request: Request,
        plan_id: str,
        version: Annotated[int, Form()],
        incident: Annotated[str, Form()],
    ) -> Response:
        return answer(request, plan_id, version, incident, granted=True, reason="")

    @router.post("/plans/{plan_id}/deny")
    def deny(
        request: Request,
        plan_id: str,
        version: Annotated[int, Form()],
        incident: Annotated[str, Form()],
        reason: Annotated[str, Form()] = "",
    ) -> Response:
        return answer(request, plan_id, version, incident, granted=False, reason=reason)

    @router.post("/sessions/{session_id}/undo")
    def undo(
        request: Request,
        session_id: str,
        incident: Annotated[str, Form()],
        reason: Annotated[str, Form()] = "",
    ) -> Response:
        undo_session(console, session_id, console.require(request), reason)
        return RedirectResponse(f"/incidents/{incident}?said=undone#plan", 303)

    @router.post("/incidents/{incident_id}/renew")
    def renew(request: Request, incident_id: str, reason: Annotated[str, Form()] = "") -> Response:
        plan_again(console, incident_id, console.require(request), reason)
        return RedirectResponse(f"/incidents/{incident_id}?said=renewed#plan", 303)

    @router.post("/halt")
    def halt(request: Request, reason: Annotated[str, Form()]) -> Response:
        set_halt(console, console.require(request, limited=False), reason)
        return RedirectResponse("/actions?said=halted", 303)

    @router.post("/resume")
    def resume(request: Request) -> Response:
        lift_halt(console, console.require(request, ConsoleRole.ADMIN))
        return RedirectResponse("/actions?said=resumed", 303)

    return router


def undo_session(console: Console, session_id: str, operator: Operator, reason: str) -> Session:
    """Give back what a session has taken. ActionRefused travels on as 409."""
    why = reason.strip()[:REASON_CHARS_MAX]
    undone = console.deps.decisions.undo(session_id, operator.name, reason=why)
    console.metrics.decisions.labels("undo", "kept").inc()
    return undone


def plan_again(console: Console, incident_id: str, operator: Operator, reason: str) -> Plan:
    """A new version of the plan where automation has given up. ActionRefused travels on as 409."""
    why = reason.strip()[:REASON_CHARS_MAX]
    made = console.deps.decisions.renew(incident_id, operator.name, operator.channel, reason=why)
    console.metrics.decisions.labels("renew", "kept").inc()
    return made


def set_halt(console: Console, operator: Operator, reason: str) -> None:
    """Stop every side effect. Raises Problem 422 without a reason."""
    why = reason.strip()[:REASON_CHARS_MAX]
    if not why:
        raise Problem(422, "empty", "A halt needs a reason.")
    console.deps.decisions.halt(operator.name, why)
    console.metrics.decisions.labels("halt", "kept").inc()


def lift_halt(console: Console, operator: Operator) -> None:
    """Go on."""
    console.deps.decisions.resume(operator.name)
    console.metrics.decisions.labels("resume", "kept").inc()
