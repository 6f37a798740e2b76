"""What automation leaves to people, in words: the queue, and the line on the incident's own page.

Made from what `remediation.service` says; called by the pages and the API.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from console.figures import name_of
from console.present.automation import refusal_word
from console.present.header import sentence
from console.present.plan import ask, open_steps
from console.words import SEVERITY, Word, prose
from remediation.service import ComingBack, Need, NeedsPerson

WHY: dict[Need, str] = {
    Need.APPROVAL: "The plan waits for your yes or no",
    Need.ADVICE: "fleetmend may only advise here; somebody must act",
    Need.HELD: "A guard holds the repair",
    Need.INTERRUPTED: "A step was begun and then stopped",
    Need.NOT_TAKEN_UP: "No executor takes the repair up",
    Need.QUEUED: "Another repair holds what this plan is about",
    Need.NO_RUNBOOK: "No runbook answers it",
    Need.PLAN_UNSTABLE: "The diagnosis has changed the plan too often",
    Need.DENIED: "A person denied the plan, and the incident goes on",
    Need.UNDONE: "A person undid the repair, and the incident goes on",
    Need.TAKEN_BACK: "A person gave back what the repair had taken",
    Need.HELD_AFTER_FAILURE: "A step failed; what was taken before it stays out",
    Need.FAILED: "The repair failed and was undone",
    Need.REPAIR: "What is broken is out of service and waits for a repair by hand",
    Need.NOTHING_LEFT: "Every step is done, and the incident goes on",
}


@dataclass(frozen=True, slots=True)
class NeedRow:
    """One incident that waits for a person."""

    incident: str
    title: str
    severity: Word
    severity_name: str
    why: str
    reasons: tuple[str, ...]
    """What admission said, in words."""
    what: str
    """What is left of the plan; empty without one."""
    runbook: str
    since_s: float
    decide: bool
    """True when a yes or no to a plan is asked for."""
    may_renew: bool
    """True when a person may ask for a new plan."""


def need_row(need: NeedsPerson) -> NeedRow:
    """The row of one incident."""
    incident, plan = need.incident, need.plan
    left = open_steps(plan, need.session) if plan is not None else []
    said = (
        f"{refusal_word(reason.refusal)} ({prose(reason.detail)})"
        if reason.detail
        else refusal_word(reason.refusal)
        for reason in need.reasons
    )
    return NeedRow(
        incident=incident.id,
        title=sentence(incident.title),
        severity=SEVERITY[incident.severity],
        severity_name=incident.severity.value,
        why=WHY[need.need],
        reasons=tuple(dict.fromkeys(said)),
        what=ask(left) if left else "",
        runbook=plan.runbook if plan is not None else "",
        since_s=need.since_s,
        decide=need.need is Need.APPROVAL,
        may_renew=need.may_renew,
    )


def coming_back_word(back: ComingBack) -> Word:
    """What stands beside a resolved incident whose capacity is still out."""
    names = [name_of(target) for target in back.targets]
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    what = f"{names[0]}{more}" if names else "capacity"
    if back.begun:
        return Word(f"{what} is being given back", "undo-2", "inf")
    verb = "come" if more else "comes"
    return Word(f"{what} {verb} back in", "timer", "ok", until_s=back.at_s)


def by_incident(backs: Sequence[ComingBack]) -> dict[str, ComingBack]:
    """The soonest of each incident."""
    return {back.incident: back for back in reversed(backs)}
