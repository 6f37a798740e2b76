"""Gather the facts that admission asks for. Pure: everything it needs is handed in.

Called by the executor inside the transaction that may write the intent, with what it read of the
world a moment before.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    entity_id,
    key_of,
    kind_of,
    split_entity_id,
)
from fleetmend.model.events import Witness
from fleetmend.model.incidents import Cause, Evidence, Incident
from fleetmend.model.plans import ActionKind, Approval, Autonomy, Effect, Plan, Session, Step
from fleetmend.ports.cluster import NodeState
from fleetmend.ports.engine import EngineState
from fleetmend.ports.halt import HaltState
from fleetmend.views.coverage import SILENCE_SYMPTOMS
from remediation.effects import OwnActs, own_acts
from remediation.facts import (
    GIVES_BACK,
    CapacityFacts,
    DomainFacts,
    DomainKind,
    Facts,
    Silence,
)
from remediation.picture import Picture
from remediation.place import engines_of, node_of
from remediation.plan import is_undecided, leading_cause
from remediation.policy import Limits, Policy
from remediation.runbook_files import Runbook
from remediation.witness import counts, outside_every_engine

_AUTONOMY_RANK = {
    Autonomy.OBSERVE: 0,
    Autonomy.RECOMMEND: 1,
    Autonomy.APPROVE: 2,
    Autonomy.AUTO: 3,
}


@dataclass(frozen=True, slots=True)
class TakenUnit:
    """A node or engine that a session of ours took."""

    unit: EntityId
    action: ActionKind
    at_s: float
    out: bool
    """It has not been given back yet."""
    session: str
    runbook: str


@dataclass(frozen=True, slots=True)
class Books:
    """What the store says: read in the transaction that decides."""

    taken: tuple[TakenUnit, ...] = ()
    """In the order in which they were taken."""
    approval: Approval | None = None
    earlier_approval: Approval | None = None
    holder: str = ""
    """Another session that holds a node of the plan; empty: none does."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read of the world for one step."""

    found: bool
    """The target exists there."""
    node: NodeState | None = None
    engine: EngineState | None = None


@dataclass(frozen=True, slots=True)
class Asking:
    """Who asks, and about what."""

    step: Step
    plan: Plan
    incident: Incident
    session: Session
    under_way: bool = False
    """Part of the step is done already."""


def facts_for(
    asking: Asking,
    reading: Reading,
    books: Books,
    picture: Picture,
    policy: Policy,
    runbooks: Mapping[str, Runbook],
    halt: HaltState,
    at_s: float,
) -> Facts:
    """Everything `admit` wants to know about one step now."""
    step, plan, incident = asking.step, asking.plan, asking.incident
    unit = step.target
    node = node_of(picture.topology, unit)
    runbook = runbooks.get(plan.runbook)
    cause = cause_of(plan, incident)
    support = _support(cause, incident)
    own = own_acts(asking.session, plan, unit, picture)
    return Facts(
        at_s=at_s,
        autonomy=_autonomy(plan, runbook, policy),
        approval_from=runbook.file.approval.from_ if runbook is not None else Effect.REVERSIBLE,
        halt=halt,
        target_known=reading.found and unit in picture.topology,
        unit=unit,
        unit_name=key_of(node) if node is not None else key_of(unit),
        domains=_domains(asking, books, picture, runbook, support, own),
        capacity=_capacity(asking, reading, books, picture, at_s),
        silences=_silences(unit, picture, support, own),
        witnesses=frozenset(item.witness for item in support if counts(item)),
        outside_witnesses=frozenset(
            i.witness for i in support if counts(i) and outside_every_engine(i)
        ),
        under_way=asking.under_way,
        cause_score=cause.score if cause is not None else 0.0,
        provisional=incident.provisional,
        session=asking.session.id,
        owner=_owner(step, reading, books),
        hosts_platform=picture.hosts_platform(node) if node is not None else "",
        maintenance=picture.maintenance(node) if node is not None else "",
        approval=books.approval,
        earlier_approval=books.earlier_approval,
        catching_up=picture.old(at_s, behind_max_s=policy.behind_max_s),
    )


def _owner(step: Step, reading: Reading, books: Books) -> str:
    """Who holds the node: as the object itself says, else as the store does. What is given back is
    the object's matter alone."""
    owner = reading.node.owner if reading.node is not None else ""
    return owner or ("" if step.action in GIVES_BACK else books.holder)


def cause_of(plan: Plan, incident: Incident) -> Cause | None:
    """The cause that the plan answers; when the diagnosis has renamed it, the leading one."""
    for cause in incident.causes:
        if (cause.cause, cause.entity) == (plan.cause, plan.entity):
            return cause
    return leading_cause(incident)


def _support(cause: Cause | None, incident: Incident) -> tuple[Evidence, ...]:
    """The evidence for a cause that the diagnosis stands by; in doubt nobody is a witness."""
    supports = frozenset(cause.supports) if cause is not None else frozenset()
    if is_undecided(incident):
        supports = frozenset()
    return tuple(item for item in incident.evidence if item.id in supports)


def _autonomy(plan: Plan, runbook: Runbook | None, policy: Policy) -> Autonomy:
    """The lesser of pool and runbook; a runbook that is gone may recommend at most."""
    pool = policy.of_pool(plan.pool).autonomy
    own = runbook.file.autonomy if runbook is not None else Autonomy.RECOMMEND
    return min(pool, own, key=_AUTONOMY_RANK.__getitem__)


def _domains(
    asking: Asking,
    books: Books,
    picture: Picture,
    runbook: Runbook | None,
    support: tuple[Evidence, ...],
    own: OwnActs | None,
) -> tuple[DomainFacts, ...]:
    """The failure domains of the unit: rack, pool, fleet, and what the runbook itself may hold."""
    unit = asking.step.target
    kind = kind_of(unit)
    out = frozenset(taken.unit for taken in books.taken if taken.out)
    if kind is EntityKind.NODE:
        out |= picture.out_nodes()
    silent = _units_showing(picture, SILENCE_SYMPTOMS, kind, own)
    symptoms = {item.symptom for item in support} - SILENCE_SYMPTOMS
    alike = {symptom: _units_showing(picture, {symptom}, kind, own) for symptom in sorted(symptoms)}
    found = []
    for domain, domain_kind, members in _groups(unit, kind, picture):
        found.append(
            DomainFacts(
                domain=domain,
                kind=domain_kind,
                size=len(members),
                out=out & members,
                taken={t.unit: t.at_s for t in books.taken if t.unit in members},
                silent=silent & members,
                same_symptom={symptom: units & members for symptom, units in alike.items()},
            )
        )
    blast = runbook.file.blast if runbook is not None else None
    if blast is not None:
        same = [taken for taken in books.taken if taken.runbook == asking.plan.runbook]
        found.append(
            DomainFacts(
                domain=EntityId(f"runbook {asking.plan.runbook}"),
                kind=DomainKind.RUNBOOK,
                size=blast.out_max,
                out=frozenset(taken.unit for taken in same if taken.out),
                taken={taken.unit: taken.at_s for taken in same},
                limits=Limits(blast.taken_max, blast.window_s, blast.out_max, 1.0),
            )
        )
    return tuple(found)


def _groups(
    unit: EntityId, kind: EntityKind, picture: Picture
) -> list[tuple[EntityId, DomainKind, frozenset[EntityId]]]:
    """Domain, its kind and its units."""
    topology = picture.topology
    cluster = split_entity_id(unit)[0]
    fleet = entity_id(cluster, EntityKind.CLUSTER, cluster)
    groups: list[tuple[EntityId, DomainKind, frozenset[EntityId]]] = []
    if kind is EntityKind.NODE:
        for rack in topology.targets(unit, RelationKind.PART_OF):
            if kind_of(rack) not in (EntityKind.RACK, EntityKind.SWITCH):
                continue  # a zone is no small domain: the fleet's bounds hold for it
            members = picture.members(rack, RelationKind.PART_OF, kind)
            groups.append((rack, DomainKind.RACK, frozenset(members)))
        for pool in topology.targets(unit, RelationKind.MEMBER_OF):
            members = picture.members(pool, RelationKind.MEMBER_OF, kind)
            groups.append((pool, DomainKind.POOL, frozenset(members)))
        groups.append((fleet, DomainKind.FLEET, frozenset(picture.nodes | {unit})))
    elif (pool_id := picture.headroom.pool_of(unit)) is not None:
        engines = frozenset(picture.headroom.engines_of(pool_id))
        groups.append((pool_id, DomainKind.POOL, engines))
    return groups


def _units_showing(
    picture: Picture,
    symptoms: frozenset[str] | set[str],
    kind: EntityKind,
    own: OwnActs | None,
) -> frozenset[EntityId]:
    return frozenset(
        unit
        for symptom in symptoms
        for entity in _showing(picture, symptom, own).values()
        for unit in picture.units_of(entity, kind)
    )


def _showing(picture: Picture, symptom: str, own: OwnActs | None) -> Mapping[str, EntityId]:
    """Open findings with a symptom that this session has not brought about itself."""
    found = picture.showing(symptom)
    if own is None:
        return found
    return {
        finding: entity
        for finding, entity in found.items()
        if not own.brought_about(picture.finding(finding), symptom, picture)
    }


def _capacity(
    asking: Asking, reading: Reading, books: Books, picture: Picture, at_s: float
) -> tuple[CapacityFacts, ...]:
    """What the step takes from each model pool. A cordon takes nothing: what runs goes on."""
    unit = asking.step.target
    match asking.step.action:
        case ActionKind.DRAIN:
            leaving = engines_of(picture.topology, unit)
        case ActionKind.EJECT | ActionKind.ENGINE_RESTART:
            leaving = (unit,)
        case _:
            return ()
    down = set(picture.down_engines())
    for taken in books.taken:
        if taken.out and taken.session != asking.session.id:
            # What others are emptying goes on serving for a moment; it is spoken for already.
            drained = taken.action is ActionKind.DRAIN
            down.update(engines_of(picture.topology, taken.unit) if drained else (taken.unit,))
    if reading.engine is not None and not reading.engine.serving:
        down.add(unit)
    removed: dict[EntityId, float] = {}
    for engine in leaving:
        pool = picture.headroom.pool_of(engine)
        if pool is not None and engine not in down:
            removed[pool] = removed.get(pool, 0.0) + picture.headroom.slots_of(engine)
    found = []
    for pool, amount in sorted(removed.items()):
        state = picture.headroom.of_pool(pool, now_s=at_s, down=down)
        found.append(CapacityFacts(pool, state.capacity, amount, state.needed))
    return tuple(found)


def _silences(
    unit: EntityId, picture: Picture, support: tuple[Evidence, ...], own: OwnActs | None
) -> tuple[Silence, ...]:
    """Missing telemetry of the unit or of anything on it, and what the diagnosis makes of it."""
    kind = kind_of(unit)
    quiet = {
        (finding, symptom): entity
        for symptom in SILENCE_SYMPTOMS
        for finding, entity in _showing(picture, symptom, own).items()
    }
    silent_entities = frozenset(quiet.values())
    # A silence that was interrupted comes back as another finding and is the same claim.
    named = {item.finding for item in support} | {(item.entity, item.symptom) for item in support}
    confirmed_by = frozenset(
        item.witness
        for item in support
        if item.witness is not Witness.SILENCE
        and counts(item)
        and not (item.witness is Witness.TELEMETRY and item.entity in silent_entities)
    )
    return tuple(
        Silence(entity, symptom, not named.isdisjoint({finding, (entity, symptom)}), confirmed_by)
        for (finding, symptom), entity in sorted(quiet.items())
        if unit in picture.units_of(entity, kind)
    )
