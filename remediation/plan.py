"""From a diagnosis to a plan: which runbook answers it, and what it means for this fleet.

Pure: called by the intake for every change of an incident, by `runbook test` and by replays. It
proposes; whether a step may be done is asked later, step by step (`remediation.admit`).
"""

import logging
from collections.abc import Sequence

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, key_of, kind_of
from fleetmend.model.events import event_id
from fleetmend.model.incidents import (
    ENDED_INCIDENTS,
    Abstention,
    Cause,
    CauseRole,
    Incident,
)
from fleetmend.model.plans import Effect, Plan, Step
from fleetmend.views.topology import TopologyView
from remediation.expressions import ITEMS_MAX, Expression, Value
from remediation.place import Place
from remediation.runbook import ACTIONS, StepTemplate
from remediation.runbook_files import Runbook

logger = logging.getLogger(__name__)

CALM_S = "calm_s"
"""Parameter of a step that gives back: seconds for which the incident must have been over."""


def plan(
    incident: Incident,
    topology: TopologyView,
    runbooks: Sequence[Runbook],
    now_s: float,
    *,
    previous: Plan | None = None,
    renew: bool = False,
) -> Plan | None:
    """What the best matching runbook would do; None for an incident that is over or that no
    runbook answers.

    The id depends on the incident alone. While runbook and steps stay the same `previous` is
    returned as it is; when they change, or with `renew` (a person's approval ran out), the version
    is one higher. A diagnosis that has come into doubt keeps the plan that there is: what was done
    stays done until another cause is named, and admission stops the rest (`remediation.gather`).
    """
    if incident.status in ENDED_INCIDENTS:
        return None
    cause = leading_cause(incident)
    if previous is not None and not renew and is_undecided(incident):
        return previous
    entity = cause.entity if cause is not None else incident.entity
    place = Place(topology, entity)
    runbook = _choose(incident, cause, place, runbooks)
    if runbook is None:
        return None
    templates = runbook.file.steps
    steps = _steps(templates, place)
    proposed = Plan(
        id="p-" + event_id(incident.id),
        version=1 if previous is None else previous.version + 1,
        incident=incident.id,
        incident_version=incident.version,
        runbook=runbook.id,
        runbook_version=runbook.file.version,
        cause=cause.cause if cause is not None else "",
        entity=entity,
        pool=place.pool,
        domain=_domain(templates, place),
        steps=steps,
        created_at_s=now_s,
        give_back=_steps(runbook.file.returning(), place, calm_s=runbook.file.probation_s),
    )
    if previous is not None and not renew and _same_work(previous, proposed):
        return previous
    return proposed


def is_undecided(incident: Incident) -> bool:
    """Whether root cause analysis stands by no cause (any more)."""
    return leading_cause(incident) is None or incident.abstention is not Abstention.NONE


def leading_cause(incident: Incident) -> Cause | None:
    """The best cause that has not been ruled out."""
    return next((c for c in incident.causes if c.role is not CauseRole.RULED_OUT), None)


def context_of(incident: Incident, cause: Cause | None, place: Place) -> dict[str, Value]:
    """What conditions see: plain values under the names of `remediation.expressions.FIELDS`."""
    supports = frozenset(cause.supports) if cause is not None else frozenset()
    evidence = sorted(incident.evidence, key=lambda e: (e.id not in supports, -e.score))
    items: list[Value] = [
        {
            "symptom": item.symptom,
            "direction": item.direction.value,
            "witness": item.witness.value,
            "kind": kind_of(item.entity).value,
            "supports": item.id in supports,
        }
        for item in evidence[:ITEMS_MAX]
    ]
    named: list[Value] = list(cause.runbooks) if cause is not None else []
    return {
        "cause": {
            "name": cause.cause if cause is not None else "",
            "score": cause.score if cause is not None else 0.0,
            "role": cause.role.value if cause is not None else "",
            "kind": kind_of(place.entity).value,
            "runbooks": named,
        },
        "incident": {
            "severity": incident.severity.value,
            "status": incident.status.value,
            "provisional": incident.provisional,
            "abstention": incident.abstention.value,
        },
        "evidence": items,
        "node": {
            "name": key_of(place.node) if place.node is not None else "",
            "pool": place.pool,
            "rack": key_of(place.rack) if place.rack is not None else "",
        },
    }


def _choose(
    incident: Incident, cause: Cause | None, place: Place, runbooks: Sequence[Runbook]
) -> Runbook | None:
    """Those that the diagnosis names come first, in its order; then by rank and id."""
    named = cause.runbooks if cause is not None else ()

    def order(runbook: Runbook) -> tuple[int, int, str]:
        place_in_list = named.index(runbook.id) if runbook.id in named else len(named)
        return place_in_list, runbook.file.rank, runbook.id

    context = context_of(incident, cause, place)
    undecided = is_undecided(incident)
    for runbook in sorted(runbooks, key=order):
        if undecided and not _only_observes(runbook):
            continue  # without a cause that root cause analysis stands by, nothing is changed
        if all(_holds(c, context, runbook) for c in (runbook.match, *runbook.preconditions)):
            return runbook
    return None


def _only_observes(runbook: Runbook) -> bool:
    return all(ACTIONS[step.do].effect is Effect.OBSERVE for step in runbook.file.steps)


def _holds(condition: Expression, context: dict[str, Value], runbook: Runbook) -> bool:
    """A condition that cannot be evaluated does not hold: another runbook is asked."""
    try:
        return condition.holds(context)
    except BadInput as error:
        logger.warning(
            "runbook condition cannot be evaluated",
            extra={"runbook": runbook.id, "error": str(error)},
        )
        return False


def _steps(
    templates: Sequence[StepTemplate], place: Place, *, calm_s: float = 0.0
) -> tuple[Step, ...]:
    """Each template once for each of its targets, numbered in order."""
    steps: list[Step] = []
    for template in templates:
        action = ACTIONS[template.do]
        for target in place.targets(template.target):
            steps.append(
                Step(
                    index=len(steps),
                    action=template.do,
                    effect=template.effect or action.effect,
                    target=target,
                    parameters=dict(template.with_) | ({CALM_S: str(calm_s)} if calm_s else {}),
                    verify=template.verify,
                    timeout_s=template.timeout_s,
                    compensation=template.compensation,
                    witnesses_needed=template.witnesses,
                    on_failure=template.on_failure,
                )
            )
    return tuple(steps)


def _domain(templates: Sequence[StepTemplate], place: Place) -> EntityId:
    """For steps on engines the node beneath, so that its sessions exclude each other; else the
    rack, the pool, or the entity itself."""
    kinds = {template.target for template in templates}
    if "engine" in kinds and "node" not in kinds and place.node is not None:
        return place.node
    return place.rack or place.pool_id or place.entity


def _same_work(one: Plan, other: Plan) -> bool:
    """Whether two versions do the same: then the older one goes on, its approval included."""
    return _work(one) == _work(other)


def _work(plan: Plan) -> tuple[object, ...]:
    return plan.runbook, plan.runbook_version, plan.pool, plan.steps, plan.give_back
