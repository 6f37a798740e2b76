"""What every route works with: made once by `create_app`, handed to each router's builder."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from console.auth import Operators
from console.deps import ConsoleDeps
from console.limits import RateLimit
from console.live.chain import ChainWatch
from console.live.hub import Hub
from console.live.watcher import Watcher
from console.metrics import Metrics
from console.problems import Problem
from console.queries import waiting_rows
from console.templating import Pages
from fleetmend.errors import FleetError, StoreError
from fleetmend.ports.halt import HaltState


@dataclass(frozen=True, slots=True)
class Console:
    """The parts of one running console."""

    deps: ConsoleDeps
    operators: Operators
    pages: Pages
    hub: Hub
    chain: ChainWatch
    watcher: Watcher
    metrics: Metrics
    logins: RateLimit

    def may_look(self, request: Request) -> None:
        """A dependency of everything that shows. Raises Problem 401."""
        if self.deps.settings.read == "login":
            self.operators.require(request)


class Frame:
    """What the frame of every page shows: counts and the halt. A store or switch that cannot be
    read must not take the page with it: then the frame says that it does not know."""

    def __init__(self, deps: ConsoleDeps) -> None:
        self._deps = deps

    def __call__(self) -> dict[str, Any]:
        """`open_count`, `waiting_count`, `halt`, `store_ok`."""
        known: dict[str, Any] = {"halt": self._halt(), "store_ok": True}
        try:
            with self._deps.store.reading() as tx:
                return known | {
                    "open_count": tx.incidents.open_count(),
                    "waiting_count": len(waiting_rows(tx)),
                }
        except StoreError:
            return known | {"open_count": 0, "waiting_count": 0, "store_ok": False}

    def _halt(self) -> HaltState | None:
        try:
            return self._deps.decisions.halt_state()
        except FleetError:
            return None


def not_found(what: str) -> Problem:
    """The answer for an id that names nothing."""
    return Problem(404, "not_found", f"There is no such {what}.")
