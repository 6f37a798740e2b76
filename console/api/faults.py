"""Faults on purpose, where the fleet is a simulated one."""

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from console.context import Console
from console.pages.fleet import inject
from fleetmend.ports.faults import FaultOffer, InjectedFault
from fleetmend.settings.console import ConsoleRole


class FaultOrder(BaseModel):
    """Which fault to make."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=100)


def routes(console: Console) -> APIRouter:
    """404 where no injector is wired."""
    router = APIRouter(tags=["faults"])

    @router.get("/faults")
    def offers() -> tuple[FaultOffer, ...]:
        """What can be made here."""
        return console.deps.faults.offers() if console.deps.faults else ()

    @router.post("/faults", status_code=201)
    def make(request: Request, order: FaultOrder) -> InjectedFault:
        """Make one now."""
        console.require(request, ConsoleRole.ADMIN)
        return inject(console, order.name)

    return router
