"""A step that everything speaks for, and ways to spoil it: shared by the tests of admission."""

from dataclasses import replace

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.plans import (
    ActionKind,
    Approval,
    Autonomy,
    Effect,
    Plan,
    Refusal,
    Step,
)
from fleetmend.ports.halt import HaltState
from remediation.facts import CapacityFacts, DomainFacts, DomainKind, Facts, Silence
from remediation.guards import Case
from remediation.policy import Limits, Policy, PoolPolicy, Window

NOW_S = 1_000_000.0
LIMITS = Limits(taken_max=2, window_s=600.0, out_max=3, out_fraction=0.5)
POLICY = Policy(
    default=PoolPolicy(Autonomy.AUTO, destructive_auto=False, limits=LIMITS),
    rack_limits=LIMITS,
    fleet_limits=Limits(taken_max=10, window_s=600.0, out_max=10, out_fraction=1.0),
)


def node(number: int) -> EntityId:
    return EntityId(f"lab/node/node-{number}")


def step(
    action: ActionKind = ActionKind.DRAIN,
    effect: Effect = Effect.DISRUPTIVE,
    witnesses_needed: int = 1,
) -> Step:
    return Step(0, action, effect, node(0), witnesses_needed=witnesses_needed)


def plan(*steps: Step, version: int = 2) -> Plan:
    return Plan(
        id="p-1",
        version=version,
        incident="i-1",
        incident_version=1,
        runbook="gpu-fallen-off-bus",
        runbook_version=1,
        cause="gpu_fallen_off_bus",
        entity=node(0),
        pool="h100",
        domain=EntityId("lab/rack/r0"),
        steps=steps,
        created_at_s=NOW_S,
    )


def domain(
    *,
    out: frozenset[EntityId] = frozenset(),
    taken: dict[EntityId, float] | None = None,
    silent: frozenset[EntityId] = frozenset(),
    same_symptom: dict[str, frozenset[EntityId]] | None = None,
    kind: DomainKind = DomainKind.RACK,
    size: int = 8,
) -> DomainFacts:
    return DomainFacts(
        EntityId("lab/rack/r0"), kind, size, out, taken or {}, silent, same_symptom or {}
    )


def approval(
    *, version: int = 2, granted: bool = True, expires_at_s: float = NOW_S + 60
) -> Approval:
    return Approval("p-1", version, granted, "ada", NOW_S - 60, expires_at_s, "console", "so")


FACTS = Facts(
    at_s=NOW_S,
    autonomy=Autonomy.AUTO,
    approval_from=Effect.DESTRUCTIVE,
    halt=HaltState(halted=False),
    target_known=True,
    unit=node(0),
    unit_name="node-0",
    domains=(domain(),),
    capacity=(CapacityFacts(EntityId("lab/model/m"), 100.0, 10.0, 50.0),),
    witnesses=frozenset({Witness.KERNEL_LOG, Witness.TELEMETRY}),
    outside_witnesses=frozenset({Witness.KERNEL_LOG}),
    session="s-1",
)
SILENCE = Silence(EntityId("lab/gpu/GPU-0"), "telemetry_absent", explained=False)
WINDOW = Window(NOW_S - 1, NOW_S + 1, "power work", nodes=frozenset({"node-0"}))

GOOD = Case(step(), plan(step()), FACTS, POLICY)


def _with(**changes: object) -> Case:
    return replace(GOOD, facts=replace(FACTS, **changes))  # type: ignore[arg-type]


SPOILED: dict[Refusal, Case] = {
    Refusal.HALTED: _with(halt=HaltState(halted=True, by="ada", reason="storm")),
    Refusal.AUTONOMY_OBSERVE: _with(autonomy=Autonomy.OBSERVE),
    Refusal.AUTONOMY_RECOMMEND: _with(autonomy=Autonomy.RECOMMEND),
    Refusal.APPROVAL_MISSING: _with(autonomy=Autonomy.APPROVE),
    Refusal.APPROVAL_EXPIRED: _with(
        autonomy=Autonomy.APPROVE, approval=approval(expires_at_s=NOW_S)
    ),
    Refusal.APPROVAL_DENIED: _with(approval=approval(granted=False)),
    Refusal.APPROVAL_STALE: _with(autonomy=Autonomy.APPROVE, earlier_approval=approval(version=1)),
    Refusal.RATE_EXCEEDED: _with(
        domains=(domain(taken={node(1): NOW_S - 1, node(2): NOW_S - 599}),)
    ),
    Refusal.LEVEL_EXCEEDED: _with(domains=(domain(out=frozenset({node(1), node(2), node(3)})),)),
    Refusal.CAPACITY_SHORT: _with(
        capacity=(CapacityFacts(EntityId("lab/model/m"), 100.0, 51.0, 50.0),)
    ),
    Refusal.TELEMETRY_STALE: _with(silences=(SILENCE,)),
    Refusal.DOMAIN_SILENT: _with(domains=(domain(silent=frozenset({node(1), node(2), node(3)})),)),
    Refusal.SHARED_PARENT: _with(
        domains=(domain(same_symptom={"xid.74": frozenset(node(n) for n in range(5))}),)
    ),
    Refusal.OWNED_BY_OTHER: _with(owner="remediation.medik8s.io/x"),
    Refusal.WITNESSES_MISSING: _with(witnesses=frozenset({Witness.KERNEL_LOG})),
    Refusal.NO_OUTSIDE_WITNESS: _with(
        witnesses=frozenset({Witness.APPLICATION_LOG, Witness.TELEMETRY}),
        outside_witnesses=frozenset(),
    ),
    Refusal.CAUSE_DOUBTFUL: _with(cause_score=0.49),
    Refusal.PROVISIONAL: _with(provisional=True),
    Refusal.HOSTS_PLATFORM: _with(hosts_platform="the broker"),
    Refusal.MAINTENANCE: replace(GOOD, policy=replace(POLICY, maintenance=(WINDOW,))),
    Refusal.CHANGE_FREEZE: replace(GOOD, policy=replace(POLICY, freezes=(WINDOW,))),
    Refusal.CATCHING_UP: _with(catching_up="offsets lost"),
    Refusal.UNKNOWN_TARGET: _with(target_known=False),
}
"""For each refusal a case in which nothing else speaks against the step."""
