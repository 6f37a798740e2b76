"""What every route works with: made once by `create_app`, handed to each router's builder."""

from dataclasses import dataclass
from typing import Any

from fastapi import Request

from console.auth import Operator, Operators, bearer
from console.deps import ConsoleDeps
from console.limits import RateLimit, Slots
from console.live.chain import ChainWatch
from console.live.hub import Hub
from console.live.watcher import Watcher
from console.metrics import Metrics
from console.problems import Problem
from console.templating import Pages
from fleetmend.errors import FleetError, StoreError
from fleetmend.ports.halt import HaltState
from fleetmend.settings.console import ConsoleRole

UNKNOWN = "unknown"
"""Who halted, in remediation's words, where no switch could be read."""
NOT_THERE = "is not there"
"""How remediation says that a switch has never been made, or is gone."""


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
    writes: RateLimit
    """Changes by one person."""
    wrong_tokens: RateLimit
    """Wrong tokens from one address."""
    streams: Slots

    def may_look(self, request: Request) -> None:
        """A dependency of everything that shows. Raises Problem 401."""
        if self.deps.settings.read == "login":
            self.identify(request)

    def identify(self, request: Request) -> Operator:
        """Who asks. Raises Problem 401 when it is nobody known, 429 when their address has sent too
        many wrong tokens."""
        operator = self.operators.who(request)
        if operator is None:
            if bearer(request) is not None:
                self.wrong_token(request)
            problem = Problem(401, "login_needed", "This needs a token of this console.")
            problem.headers["www-authenticate"] = "Bearer"
            raise problem
        return operator

    def require(
        self,
        request: Request,
        role: ConsoleRole = ConsoleRole.OPERATOR,
        *,
        limited: bool = True,
    ) -> Operator:
        """Who asks for a change. Raises Problem 401, 403 for who may not, 429 for who has made too
        many; `limited` is false for what must never wait."""
        operator = self.identify(request)
        if not operator.may(role):
            said = f"{operator.name} is {operator.role}; this needs {role}."
            raise Problem(403, "role_needed", said)
        if limited:
            _not_too_often(self.writes.admit(operator.name), "Too many changes.")
        return operator

    def wrong_token(self, request: Request) -> None:
        """Count a wrong token. Raises Problem 429 when there were too many."""
        address = request.client.host if request.client else ""
        _not_too_often(self.wrong_tokens.admit(address), "Too many wrong tokens.")


def _not_too_often(wait_s: float, said: str) -> None:
    if wait_s:
        problem = Problem(429, "too_many", f"{said} Wait a minute.")
        problem.headers["retry-after"] = str(int(wait_s) + 1)
        raise problem


class Frame:
    """What the frame of every page shows: counts and the halt. A store or switch that cannot be
    read must not take the page with it: then the frame says that it does not know."""

    def __init__(self, deps: ConsoleDeps) -> None:
        self._deps = deps

    def __call__(self, *, known: bool) -> dict[str, Any]:
        """`may_look`, `open_count`, `waiting_count`, `halt`, `store_ok`; nothing of it for who is
        not `known` where only those may look."""
        hidden = {
            "halt_words": "",
            "open_count": 0,
            "waiting_count": 0,
            "halt": None,
            "store_ok": True,
        }
        if not known and self._deps.settings.read == "login":
            return hidden | {"may_look": False}
        halt = self._halt()
        shown = {"may_look": True, "halt": halt, "halt_words": halted_words(halt)}
        frame = hidden | shown
        try:
            with self._deps.store.reading() as tx:
                open_count = tx.incidents.open_count()
            waiting = len(self._deps.decisions.needs_person())
            return frame | {"open_count": open_count, "waiting_count": waiting}
        except StoreError:
            return frame | {"store_ok": False}

    def _halt(self) -> HaltState | None:
        try:
            return self._deps.decisions.halt_state()
        except FleetError:
            return None


def halted_words(halt: HaltState | None) -> str:
    """Who halted and why, after the word `halted`; where no switch says so, what is the matter
    with it."""
    if halt is None or not halt.halted:
        return ""
    if halt.by not in ("", UNKNOWN):
        return f" by {halt.by}: {halt.reason}" if halt.reason else f" by {halt.by}"
    if NOT_THERE in halt.reason:
        return f", because it was never set up or its switch is lost: {halt.reason}"
    return f", because its switch does not say: {halt.reason}"


def not_found(what: str) -> Problem:
    """The answer for an id that names nothing."""
    return Problem(404, "not_found", f"There is no such {what}.")
