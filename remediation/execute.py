"""The executor: claims sessions that are due and carries each on by one turn.

Any number of workers may run; leases and fences keep them apart. Between two turns a session is
put by with a short lease, so the store is the only timer and a killed worker's sessions go on
elsewhere. A dry run is the same loop with another ledger and other ports (`remediation.dryrun`).
"""

import logging
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext

from fleetmend.errors import FenceLost, FleetError, PortError, StoreConflict
from fleetmend.model.plans import Session, SessionState
from remediation import returning
from remediation.forward import forward
from remediation.halt_record import HaltWatch
from remediation.session import is_over
from remediation.turn import Tools, Turn

logger = logging.getLogger(__name__)

MOVES_MAX = 200
"""Moves in one turn: more than any plan needs, so that one session cannot starve the others."""

Span = Callable[[str, Mapping[str, str | int | float]], AbstractContextManager[None]]
"""What goes around a turn, by name and attributes: a trace's span, or nothing."""


def _no_span(_name: str, _attributes: Mapping[str, str | int | float]) -> nullcontext[None]:
    return nullcontext()


class Executor:
    """One worker."""

    def __init__(self, tools: Tools, *, worker: str, span: Span = _no_span) -> None:
        """`worker` names it in sessions; two workers never share a name. `span` goes around each
        turn."""
        self._span = span
        self._tools = tools
        self._worker = worker
        self._watch = HaltWatch(tools.halt, tools.ledger, tools.clock)
        self.failures: Counter[str] = Counter()
        """Turns that failed, by the name of the error."""

    def run_once(self) -> bool:
        """One turn of one session; false when none is due. Raises StoreError when no session could
        be claimed."""
        tools = self._tools
        session = tools.ledger.claim(
            self._worker, now_s=tools.clock.now_s(), lease_s=tools.settings.lease_s
        )
        if session is None:
            self._watch_halt()
            return False
        told = {"fleetmend.session": session.id, "fleetmend.state": session.state.value}
        try:
            with self._span("turn", told):
                self._turn(session)
        except FenceLost as lost:
            # Another worker has it: nothing more may be changed, the lease included.
            logger.warning("fence lost", extra={"session": session.id, "error": str(lost)})
        except FleetError as error:
            # The lease runs out and the session is tried again; the others are not held up.
            self._count(error)
            logger.error("turn failed", extra={"session": session.id, "error": str(error)})
        except Exception as error:
            # A defect that this session meets must not keep another from giving back.
            self._count(error)
            what = {"session": session.id, "error": f"{type(error).__name__}: {error}"}
            logger.exception("turn failed unexpectedly", extra=what)
        return True

    def _turn(self, session: Session) -> None:
        turn = Turn(self._tools, session)
        try:
            delay_s = carry(turn)
        except StoreConflict as conflict:
            # A person changed it meanwhile: look again at once, with fresh eyes.
            logger.info("session changed", extra={"session": session.id, "error": str(conflict)})
            delay_s = 0.0
        except PortError as error:
            self._count(error)
            logger.warning("port failed", extra={"session": session.id, "error": str(error)})
            delay_s = self._tools.settings.retry_s
        if delay_s is not None:
            self._tools.ledger.renew(turn.session, now_s=turn.now_s, lease_s=delay_s)

    def _watch_halt(self) -> None:
        """When nothing is due, so that a slow switch delays nobody who gives back."""
        try:
            self._watch.look()
        except FleetError as error:
            self._count(error)
            logger.error("halt could not be audited", extra={"error": str(error)})

    def _count(self, error: Exception) -> None:
        self.failures[type(error).__name__] += 1


def carry(turn: Turn) -> float | None:
    """Move until the session has to wait: seconds until the next look, None when it is over."""
    for _ in range(MOVES_MAX):
        if is_over(turn.session):
            return None
        delay_s = _move(turn)
        if delay_s is not None:
            return delay_s
    return turn.tools.settings.retry_s


def _move(turn: Turn) -> float | None:
    match turn.session.state:
        case SessionState.GIVING_BACK:
            return returning.give_back(turn)
        case SessionState.COMPENSATING:
            return returning.compensate(turn)
        case _ if returning.is_over(turn):
            return returning.unwind(turn)
        case SessionState.HOLDING:
            return returning.hold(turn)
        case _:
            return forward(turn)
