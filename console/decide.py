"""A person's decision on a plan, from page or API alike: the version must be the one they saw, the
first decision wins, and everybody else hears who was first.
"""

from console.auth import Operator
from console.context import Console, not_found
from console.figures import span
from console.problems import Problem, from_fleet
from fleetmend.errors import ActionRefused, StoreConflict
from fleetmend.model.plans import Approval
from fleetmend.store import AlreadyDecided

REASON_CHARS_MAX = 300


def decide(
    console: Console,
    plan_id: str,
    version: int,
    operator: Operator,
    *,
    granted: bool,
    reason: str = "",
) -> Approval:
    """Keep the decision through `remediation.service`. Raises Problem 404, 409 (somebody was first,
    or a guard says no), 412 (the plan has another version by now)."""
    with console.deps.store.reading() as tx:
        plan = tx.plans.get(plan_id)
    if plan is None:
        raise not_found("plan")
    word = "approve" if granted else "deny"
    if plan.version != version:
        console.metrics.decisions.labels(word, "stale").inc()
        detail = f"You saw version {version}; the plan is at version {plan.version}. Look again."
        raise Problem(412, "stale", detail, version=plan.version)
    service = console.deps.decisions
    try:
        if granted:
            made = service.approve(plan_id, version, operator.name, operator.channel)
        else:
            why = reason.strip()[:REASON_CHARS_MAX]
            made = service.deny(plan_id, version, operator.name, why, operator.channel)
    except AlreadyDecided as conflict:
        console.metrics.decisions.labels(word, "conflict").inc()
        raise first_was(conflict.earlier, console.deps.clock.now_s()) from conflict
    except (StoreConflict, ActionRefused) as error:
        console.metrics.decisions.labels(word, "refused").inc()
        raise from_fleet(error) from error
    console.metrics.decisions.labels(word, "kept").inc()
    return made


def first_was(earlier: Approval, now_s: float) -> Problem:
    """`Already approved by ana 12 s ago.`"""
    said = "approved" if earlier.granted else "denied"
    ago = span(now_s - earlier.at_s)
    return Problem(
        409,
        "already_decided",
        f"Already {said} by {earlier.by} {ago} ago; your decision was not used.",
        decided_by=earlier.by,
        granted=str(earlier.granted).lower(),
        at_s=earlier.at_s,
    )
