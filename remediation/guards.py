"""The guards: each looks at one thing and says no with a named reason, or nothing.

Called by `remediation.admit` alone, which composes them. A guard never looks at the world: all it
knows is in the case. Adding a guard means a `Refusal`, an entry in `GUARDS`, a property and an
example in `tests/unit/remediation/`.
"""

from collections.abc import Callable
from dataclasses import dataclass

from fleetmend.model.entities import EntityKind, kind_of
from fleetmend.model.plans import Autonomy, Effect, Plan, Reason, Refusal, Step
from remediation.facts import EFFECT_RANK, DomainFacts, DomainKind, Facts, Silence
from remediation.policy import Limits, Policy, Window
from remediation.witness import AUTHORITATIVE, CONFIRMS_SILENCE, WITNESS_KIND, WITNESSES_FOR


@dataclass(frozen=True, slots=True)
class Case:
    """One step, asked about at one moment."""

    step: Step
    plan: Plan
    facts: Facts
    policy: Policy


Guard = Callable[[Case], Reason | None]


def halted(case: Case) -> Reason | None:
    """The one halt is set, or could not be read."""
    halt = case.facts.halt
    if not halt.halted:
        return None
    return Reason(Refusal.HALTED, f"halted by {halt.by or 'unknown'}: {halt.reason}")


def autonomy_observe(case: Case) -> Reason | None:
    """The pool or the runbook only wants to watch."""
    if case.facts.autonomy is not Autonomy.OBSERVE:
        return None
    return Reason(Refusal.AUTONOMY_OBSERVE, f"pool {case.plan.pool or '-'} only observes")


def autonomy_recommend(case: Case) -> Reason | None:
    """The pool or the runbook wants recommendations, not acts."""
    if case.facts.autonomy is not Autonomy.RECOMMEND:
        return None
    return Reason(Refusal.AUTONOMY_RECOMMEND, f"pool {case.plan.pool or '-'} only recommends")


def approval_missing(case: Case) -> Reason | None:
    """A person must agree and nobody has decided yet."""
    facts = case.facts
    if not _needs_approval(case) or facts.approval or facts.earlier_approval:
        return None
    return Reason(Refusal.APPROVAL_MISSING, f"plan version {case.plan.version} waits for a person")


def approval_stale(case: Case) -> Reason | None:
    """A person decided on another version of the plan."""
    earlier = case.facts.earlier_approval
    if not _needs_approval(case) or case.facts.approval or earlier is None:
        return None
    detail = f"decided on version {earlier.plan_version}, the plan is at {case.plan.version}"
    return Reason(Refusal.APPROVAL_STALE, detail)


def approval_denied(case: Case) -> Reason | None:
    """A person said no. It holds whatever the autonomy."""
    approval = case.facts.approval
    if approval is None or approval.granted:
        return None
    return Reason(Refusal.APPROVAL_DENIED, f"denied by {approval.by}: {approval.reason}")


def approval_expired(case: Case) -> Reason | None:
    """A person agreed too long ago."""
    approval = case.facts.approval
    if not _needs_approval(case) or approval is None or not approval.granted:
        return None
    late_s = case.facts.at_s - approval.expires_at_s
    if late_s < 0:
        return None
    return Reason(Refusal.APPROVAL_EXPIRED, f"{approval.by}'s approval ended {late_s:.0f} s ago")


def rate_exceeded(case: Case) -> Reason | None:
    """Too many units of a domain were taken lately. A unit that is taken already costs nothing."""
    facts = case.facts
    for domain in facts.domains:
        limits = _limits(case, domain)
        recent = {u for u, at_s in domain.taken.items() if facts.at_s - at_s < limits.window_s}
        count = len(recent | {facts.unit})
        if count > limits.taken_max:
            detail = (
                f"{domain.domain}: this would be number {count} within {limits.window_s:.0f} s, "
                f"{limits.taken_max} are allowed"
            )
            return Reason(Refusal.RATE_EXCEEDED, detail)
    return None


def level_exceeded(case: Case) -> Reason | None:
    """Too many units of a domain would be out at once, whoever took them."""
    for domain in case.facts.domains:
        allowed = _limits(case, domain).level_max(domain.size)
        count = len(domain.out | {case.facts.unit})
        if count > allowed:
            detail = f"{domain.domain}: {count} of {domain.size} out, {allowed} are allowed"
            return Reason(Refusal.LEVEL_EXCEEDED, detail)
    return None


def capacity_short(case: Case) -> Reason | None:
    """What remains would not carry the demand. Taking what serves nothing costs nothing."""
    for part in case.facts.capacity:
        if part.removed <= 0:
            continue
        needed = part.needed
        if needed is None:
            needed = part.serving * case.policy.unknown_demand_fraction
        remaining = part.serving - part.removed
        if remaining < needed or remaining <= 0:
            known = "needed" if part.needed is not None else "wanted, demand is unknown"
            detail = f"{part.model}: {remaining:.0f} would remain, {needed:.0f} {known}"
            return Reason(Refusal.CAPACITY_SHORT, detail)
    return None


def telemetry_stale(case: Case) -> Reason | None:
    """The target is not heard, and no confirmed diagnosis says that it would not be."""
    unexplained = [s for s in case.facts.silences if not explains(s)]
    if not unexplained:
        return None
    first = unexplained[0]
    return Reason(Refusal.TELEMETRY_STALE, f"{first.symptom} on {first.entity} is unexplained")


def domain_silent(case: Case) -> Reason | None:
    """Much of a domain is not heard: the observer is the likelier fault, explained or not."""
    for domain in case.facts.domains:
        silent = len(domain.silent)
        if silent >= 2 and silent >= case.policy.domain_silent_fraction * domain.size:
            detail = f"{domain.domain}: {silent} of {domain.size} without telemetry"
            return Reason(Refusal.DOMAIN_SILENT, detail)
    return None


def shared_parent(case: Case) -> Reason | None:
    """A domain shows one symptom together: its parent is to blame, not its leaves."""
    policy = case.policy
    for domain in case.facts.domains:
        for symptom, units in sorted(domain.same_symptom.items()):
            enough = len(units) >= policy.shared_nodes_min
            if enough and len(units) > policy.shared_fraction * domain.size:
                detail = f"{domain.domain}: {len(units)} of {domain.size} show {symptom}"
                return Reason(Refusal.SHARED_PARENT, detail)
    return None


def owned_by_other(case: Case) -> Reason | None:
    """Somebody else holds the node."""
    owner = case.facts.owner
    if not owner or owner == case.facts.session:
        return None
    return Reason(Refusal.OWNED_BY_OTHER, f"held by {owner}")


def witnesses_missing(case: Case) -> Reason | None:
    """The cause is not known by enough channels of different kind for what the step does."""
    step, seen = case.step, case.facts.witnesses
    wanted = max(WITNESSES_FOR[step.effect], step.witnesses_needed)
    kinds = {WITNESS_KIND[w] for w in seen if w in WITNESS_KIND}
    if wanted == 0 or (len(kinds) >= wanted and seen & AUTHORITATIVE):
        return None
    names = ", ".join(sorted(w.value for w in seen)) or "none"
    detail = f"{step.effect.value} wants {wanted} of different kind, one authoritative; has {names}"
    return Reason(Refusal.WITNESSES_MISSING, detail)


def no_outside_witness(case: Case) -> Reason | None:
    """Whoever runs an engine writes its page and its log: two channels, one source. What takes more
    than that engine needs a word from outside every engine."""
    words = sorted(w.value for w in case.facts.witnesses if w in WITNESS_KIND)
    if not words or case.facts.outside_witnesses:
        return None  # who speaks at all is for `witnesses_missing` to say
    if kind_of(case.step.target) is EntityKind.ENGINE:
        return None
    names = ", ".join(words)
    return Reason(Refusal.NO_OUTSIDE_WITNESS, f"only engines speak for it: {names}")


def provisional(case: Case) -> Reason | None:
    """No tick has confirmed the incident: only what can be undone."""
    if not case.facts.provisional:
        return None
    if EFFECT_RANK[case.step.effect] <= EFFECT_RANK[Effect.REVERSIBLE]:
        return None
    return Reason(Refusal.PROVISIONAL, f"{case.step.effect.value} waits for the tick to confirm")


def hosts_platform(case: Case) -> Reason | None:
    """The node carries a part of this platform."""
    part = case.facts.hosts_platform
    if not part and case.facts.unit_name in case.policy.platform_nodes:
        part = "the platform"
    if not part:
        return None
    return Reason(Refusal.HOSTS_PLATFORM, f"{case.facts.unit_name} carries {part}")


def maintenance(case: Case) -> Reason | None:
    """Somebody works on it."""
    reason = case.facts.maintenance or _window(case, case.policy.maintenance)
    return Reason(Refusal.MAINTENANCE, reason) if reason else None


def change_freeze(case: Case) -> Reason | None:
    """Changes are frozen."""
    reason = _window(case, case.policy.freezes)
    return Reason(Refusal.CHANGE_FREEZE, reason) if reason else None


def catching_up(case: Case) -> Reason | None:
    """What is known may be old."""
    reason = case.facts.catching_up
    return Reason(Refusal.CATCHING_UP, reason) if reason else None


def unknown_target(case: Case) -> Reason | None:
    """There is no such thing, or it cannot be told which one is meant."""
    if case.facts.target_known:
        return None
    return Reason(Refusal.UNKNOWN_TARGET, f"{case.step.target} is not in the fleet")


def explains(silence: Silence) -> bool:
    """The diagnosis predicts this silence and a witness on another path confirms the cause."""
    return silence.explained and bool(silence.confirmed_by & CONFIRMS_SILENCE)


def cause_doubtful(case: Case) -> Reason | None:
    """The cause is less likely than all others together, and no person has agreed all the same."""
    facts, least = case.facts, case.policy.score_min
    if facts.cause_score >= least:
        return None
    approval = facts.approval
    if approval is not None and approval.granted and facts.at_s < approval.expires_at_s:
        return None
    detail = f"the cause has a score of {facts.cause_score:.2f}, {least:.2f} is needed"
    return Reason(Refusal.CAUSE_DOUBTFUL, detail)


GUARDS: tuple[Guard, ...] = (
    halted,
    unknown_target,
    catching_up,
    autonomy_observe,
    autonomy_recommend,
    approval_denied,
    approval_missing,
    approval_stale,
    approval_expired,
    owned_by_other,
    hosts_platform,
    maintenance,
    change_freeze,
    provisional,
    cause_doubtful,
    witnesses_missing,
    no_outside_witness,
    telemetry_stale,
    domain_silent,
    shared_parent,
    level_exceeded,
    rate_exceeded,
    capacity_short,
)
"""Every guard, in the order in which reasons are shown: first what a person can change at once."""

FOR_GIVING_BACK: tuple[Guard, ...] = (owned_by_other,)
"""All that can stand in the way of returning capacity."""


FOR_CARRYING_ON: tuple[Guard, ...] = (
    halted,
    unknown_target,
    catching_up,
    autonomy_observe,
    autonomy_recommend,
    approval_denied,
    owned_by_other,
    hosts_platform,
    maintenance,
    shared_parent,
    capacity_short,
)
"""What stops a step of which part is done already, beside the fence, which the gate checks.

A person's word does (halt, denial, maintenance, a pool put on watching), and so does whatever would
make one more eviction wrong in itself: a node that is not ours any more, one that carries the
platform, old knowledge, demand that the rest could not carry, a parent that is to blame. Half a
drain helps nobody, so the rest was asked once, at the beginning, and is not asked again: rate,
level and windows count beginnings; witnesses and approval carried the decision, and evidence fades
while its subject is emptied; silences near what is being emptied are mostly our own doing
(`remediation.effects`, which also says what `shared_parent` leaves out). The step's timeout bounds
how long this holds; a step that was interrupted is asked everything anew before it goes on."""


def _needs_approval(case: Case) -> bool:
    """Whether a person must agree: always under `approve`, from some effect on under `auto`."""
    if case.facts.autonomy is Autonomy.APPROVE:
        return True
    if case.facts.autonomy is not Autonomy.AUTO:
        return False
    effect, since = case.step.effect, case.facts.approval_from
    if effect is Effect.DESTRUCTIVE and since is Effect.DESTRUCTIVE:
        return not case.policy.of_pool(case.plan.pool).destructive_auto
    return EFFECT_RANK[effect] >= EFFECT_RANK[since]


def _limits(case: Case, domain: DomainFacts) -> Limits:
    if domain.limits is not None:
        return domain.limits
    match domain.kind:
        case DomainKind.RACK:
            return case.policy.rack_limits
        case DomainKind.POOL:
            return case.policy.of_pool(case.plan.pool).limits
        case DomainKind.FLEET | DomainKind.RUNBOOK:
            return case.policy.fleet_limits


def _window(case: Case, windows: tuple[Window, ...]) -> str:
    """The reason of the first window that holds now, or empty."""
    facts = case.facts
    for window in windows:
        if window.covers(at_s=facts.at_s, pool=case.plan.pool, node=facts.unit_name):
            return window.reason
    return ""
