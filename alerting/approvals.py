"""Which sessions wait for a person, read from the store. Called by `alerting.service`."""

from fleetmend.model.plans import Refusal, SessionState, Verdict
from fleetmend.store import Transaction

_ASKING = frozenset({Refusal.APPROVAL_MISSING, Refusal.APPROVAL_EXPIRED, Refusal.APPROVAL_STALE})
_WAITING = frozenset({SessionState.PROPOSED, SessionState.WAITING})


def waiting_approvals(tx: Transaction) -> dict[str, str]:
    """Incident -> `plan/version` of the newest session that cannot go on without a decision."""
    return {
        session.incident: f"{session.plan}/{session.plan_version}"
        for session in tx.sessions.active()
        if session.state in _WAITING
        and _asks(tx.verdicts.for_plan(session.plan), session.plan_version)
    }


def _asks(verdicts: list[Verdict], plan_version: int) -> bool:
    """Whether the last word on any step is that a decision is missing."""
    last = {verdict.step: verdict for verdict in verdicts if verdict.plan_version == plan_version}
    return any(reason.refusal in _ASKING for verdict in last.values() for reason in verdict.reasons)
