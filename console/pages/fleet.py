"""The fleet and the actions: maps, what waits, what was done, faults on purpose."""

from typing import Annotated, Any

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from console.context import Console, not_found
from console.notices import notice
from console.present.coverage import heard
from console.present.fleet import STATE_WORDS, PoolBlock, figures, pools
from console.present.needs import NeedRow, need_row
from console.queries import (
    RECENT_MAX,
    held_nodes,
    incident_rows,
    open_incidents,
    past,
    recent_sessions,
    session_rows,
)
from fleetmend.ports.faults import InjectedFault
from fleetmend.settings.console import ConsoleRole
from fleetmend.store import Transaction

OPEN_SHOWN = 8
RECENT_SHOWN = 6


def routes(console: Console) -> APIRouter:
    """`/fleet`, `/actions`, `/faults`."""
    router = APIRouter(include_in_schema=False)

    @router.get("/fleet")
    def fleet(request: Request, view: str = "map", said: str = "") -> HTMLResponse:
        waits = waiting(console)
        with console.deps.store.reading() as tx:
            blocks = map_blocks(console, tx)
            open_ = open_incidents(tx)
            strip = figures(
                open_=open_,
                blocks=blocks,
                waiting=len(waits),
                past=past(tx),
                held=len(held_nodes(tx)),
            )
            context = {
                "pools": blocks,
                "figures": strip,
                "heard": heard(tx, console.deps.clock.now_s()),
                "waits": waits,
                "open_rows": incident_rows(
                    tx, open_[:OPEN_SHOWN], needs={row.incident for row in waits}
                ),
                **_recent(console, tx, RECENT_SHOWN),
            }
        offers = console.deps.faults.offers() if console.deps.faults else ()
        return console.pages.page(
            request,
            "fleet.html",
            as_table=view == "table",
            state_words=STATE_WORDS,
            offers=offers,
            notice=notice(said),
            simulated=console.deps.simulated,
            **context,
        )

    @router.get("/actions")
    def actions(request: Request, said: str = "") -> HTMLResponse:
        with console.deps.store.reading() as tx:
            context = {"waits": waiting(console), **_recent(console, tx, RECENT_MAX)}
        return console.pages.page(request, "actions.html", notice=notice(said), **context)

    @router.post("/faults")
    def make_fault(request: Request, name: Annotated[str, Form()]) -> Response:
        console.require(request, ConsoleRole.ADMIN)
        inject(console, name)
        return RedirectResponse("/fleet?said=fault", 303)

    return router


def waiting(console: Console) -> list[NeedRow]:
    """Open incidents that automation leaves to people, the worst first."""
    return [need_row(need) for need in console.deps.decisions.needs_person()]


def inject(console: Console, name: str) -> InjectedFault:
    """Make a fault where the fleet lets us. Raises Problem 404 where it does not, PortRefused for a
    name that it does not know."""
    if console.deps.faults is None:
        raise not_found("fault injector here")
    return console.deps.faults.inject(name)


def map_blocks(console: Console, tx: Transaction) -> list[PoolBlock] | None:
    """The map as it is now; None where no topology is at hand."""
    if console.deps.fleet is None:
        return None
    return pools(console.deps.fleet.now(), open_incidents(tx), held_nodes(tx))


def _recent(console: Console, tx: Transaction, limit: int) -> dict[str, Any]:
    found = recent_sessions(tx, console.deps.clock.now_s())
    return {"recent": session_rows(tx, found[:limit]), "recent_total": len(found)}
