"""Plans and decisions as JSON. A decision names the version it is about by If-Match: what the
person (or program) saw is what is decided on."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from console.api.incidents import PlanDetail, plan_detail
from console.context import Console, not_found
from console.decide import REASON_CHARS_MAX, decide
from console.pages.decisions import lift_halt, plan_again, set_halt, undo_session
from console.pages.fleet import waiting
from console.present.case import read_plans
from console.present.needs import NeedRow
from console.problems import Problem
from fleetmend.model.plans import Approval, Plan, Session
from fleetmend.ports.halt import HaltState
from fleetmend.settings.console import ConsoleRole


class Why(BaseModel):
    """The body of a denial or a halt."""

    model_config = ConfigDict(extra="forbid")

    reason: str = Field(default="", max_length=REASON_CHARS_MAX)


def routes(console: Console) -> APIRouter:
    """Reads, and decisions of who may decide."""
    router = APIRouter(tags=["plans"])

    @router.get("/plans/{plan_id}")
    def plan(plan_id: str, response: Response) -> PlanDetail:
        """The newest version; its ETag is what If-Match must carry."""
        with console.deps.store.reading() as tx:
            held = tx.plans.get(plan_id)
            found = None
            if held is not None:
                cases = read_plans(tx, held.incident)
                found = next((p for p in cases if p.plan.id == plan_id), None)
        if found is None:
            raise not_found("plan")
        response.headers["etag"] = f'"{found.plan.version}"'
        return plan_detail(found)

    @router.post("/plans/{plan_id}/approve")
    def approve(
        request: Request, plan_id: str, if_match: Annotated[str | None, Header()] = None
    ) -> Approval:
        """Approve the version named by If-Match. 409 when somebody decided first."""
        operator = console.require(request)
        return decide(console, plan_id, _version(if_match), operator, granted=True)

    @router.post("/plans/{plan_id}/deny")
    def deny(
        request: Request,
        plan_id: str,
        body: Why,
        if_match: Annotated[str | None, Header()] = None,
    ) -> Approval:
        """Deny the version named by If-Match. 409 when somebody decided first."""
        operator = console.require(request)
        version = _version(if_match)
        return decide(console, plan_id, version, operator, granted=False, reason=body.reason)

    @router.post("/sessions/{session_id}/undo")
    def undo(request: Request, session_id: str, body: Why) -> Session:
        """Give back what a session has taken."""
        operator = console.require(request)
        return undo_session(console, session_id, operator, body.reason)

    @router.get("/waits")
    def waits() -> list[NeedRow]:
        """Open incidents that automation leaves to people, the worst first."""
        return waiting(console)

    @router.post("/incidents/{incident_id}/renew")
    def renew(request: Request, incident_id: str, body: Why) -> Plan:
        """Plan again where automation has given up. 409 when it has not."""
        return plan_again(console, incident_id, console.require(request), body.reason)

    @router.get("/halt")
    def halt_state() -> HaltState:
        """Whether side effects are stopped."""
        return console.deps.decisions.halt_state()

    @router.post("/halt")
    def halt(request: Request, body: Why) -> HaltState:
        """Stop every side effect."""
        set_halt(console, console.require(request, limited=False), body.reason)
        return console.deps.decisions.halt_state()

    @router.post("/resume")
    def resume(request: Request) -> HaltState:
        """Go on."""
        lift_halt(console, console.require(request, ConsoleRole.ADMIN))
        return console.deps.decisions.halt_state()

    return router


def _version(if_match: str | None) -> int:
    if if_match is None:
        raise Problem(428, "version_needed", "Send If-Match with the plan's ETag.")
    text = if_match.strip().removeprefix("W/").strip('"')
    if not text.isdecimal():
        raise Problem(412, "stale", "If-Match must carry the plan's version.")
    return int(text)
