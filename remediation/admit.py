"""Admission: may this step of this plan be done now? One pure function, asked by the executor
before every side effect and by the console for its "why not".

Nothing here reads a clock, a store or a cluster; all of it is in the facts.
"""

from fleetmend.model.plans import Effect, Plan, Step, Verdict
from remediation.facts import GIVES_BACK, Facts
from remediation.guards import (
    FOR_CARRYING_ON,
    FOR_GIVING_BACK,
    GUARDS,
    Case,
    Guard,
    explains,
)
from remediation.policy import Policy

GIVING_BACK = "giving_back"
UNDER_WAY = "under_way"
EXPLAINED_SILENCE = "explained_silence"


def admit(
    step: Step, plan: Plan, facts: Facts, policy: Policy, *, guards: tuple[Guard, ...] = GUARDS
) -> Verdict:
    """All reasons that speak against `step`; admitted when there is none.

    A step that observes is always admitted. One that gives back is asked only who owns the node:
    halt, rate, level, coverage and all else are waived, and the waiver is named in the verdict. One
    of which part is done already is asked what `guards.FOR_CARRYING_ON` holds.
    """
    case = Case(step, plan, facts, policy)
    waivers: tuple[str, ...] = ()
    if step.effect is Effect.OBSERVE:
        guards = ()
    elif step.action in GIVES_BACK:
        guards, waivers = _only(FOR_GIVING_BACK, guards, case, GIVING_BACK)
    elif facts.under_way:
        guards, waivers = _only(FOR_CARRYING_ON, guards, case, UNDER_WAY)
    elif facts.silences and all(explains(silence) for silence in facts.silences):
        waivers = (EXPLAINED_SILENCE,)
    reasons = tuple(reason for guard in guards if (reason := guard(case)) is not None)
    return Verdict(plan.id, plan.version, step.index, facts.at_s, reasons, waivers)


def _only(
    kept: tuple[Guard, ...], guards: tuple[Guard, ...], case: Case, waiver: str
) -> tuple[tuple[Guard, ...], tuple[str, ...]]:
    """Those of the guards that are kept, and the waiver's name when another would have spoken."""
    waived = any(guard(case) for guard in guards if guard not in kept)
    return tuple(guard for guard in guards if guard in kept), (waiver,) if waived else ()
