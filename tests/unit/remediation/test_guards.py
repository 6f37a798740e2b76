"""Each guard as a property: more taken away never admits more, and its bound holds."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.plans import ActionKind, Autonomy, Effect
from fleetmend.ports.halt import HaltState
from remediation import guards
from remediation.facts import CapacityFacts, DomainFacts, DomainKind, Facts, Silence
from remediation.guards import Case
from remediation.policy import Limits, Policy, PoolPolicy, Window
from tests.unit.remediation.cases import (
    FACTS,
    GOOD,
    NOW_S,
    POLICY,
    SILENCE,
    approval,
    domain,
    node,
    plan,
    step,
)

NODES = st.integers(0, 9).map(node)
SETS = st.frozensets(NODES)
LIMITS = st.builds(
    Limits,
    taken_max=st.integers(0, 6),
    window_s=st.floats(1, 1000),
    out_max=st.integers(0, 6),
    out_fraction=st.floats(0, 1),
)


def case(facts: Facts, policy: Policy = POLICY) -> Case:
    return replace(GOOD, facts=facts, policy=policy)


def bounded(limits: Limits) -> Policy:
    return replace(
        POLICY,
        default=PoolPolicy(Autonomy.AUTO, destructive_auto=False, limits=limits),
        rack_limits=limits,
        fleet_limits=limits,
    )


@given(
    limits=LIMITS,
    size=st.integers(1, 12),
    moves=st.lists(st.tuples(NODES, st.floats(0, 400), st.booleans()), max_size=40),
)
def test_no_history_ever_breaks_the_rate_or_the_level(
    limits: Limits, size: int, moves: list[tuple[EntityId, float, bool]]
) -> None:
    """Whatever is asked for, given back and asked for again: at every admission no window holds
    more distinct nodes than `taken_max`, and no more are out than both level bounds allow."""
    policy = bounded(limits)
    at_s, out = NOW_S, frozenset[EntityId]()
    taken: dict[EntityId, float] = {}
    for unit, wait_s, give_back in moves:
        at_s += wait_s
        if give_back:
            out -= {unit}
            continue
        facts = replace(
            FACTS, at_s=at_s, unit=unit, domains=(domain(out=out, taken=taken, size=size),)
        )
        if guards.rate_exceeded(case(facts, policy)) or guards.level_exceeded(case(facts, policy)):
            continue
        out |= {unit}
        taken[unit] = at_s
        in_window = [n for n, t in taken.items() if at_s - t < limits.window_s]
        assert len(in_window) <= limits.taken_max
        assert len(out) <= limits.out_max
        assert len(out) <= max(1, limits.out_fraction * size)


@given(limits=LIMITS, out=SETS, more=SETS, size=st.integers(1, 12))
def test_with_more_nodes_out_the_level_never_admits_more(
    limits: Limits, out: frozenset[EntityId], more: frozenset[EntityId], size: int
) -> None:
    policy = bounded(limits)
    before = replace(FACTS, domains=(domain(out=out, size=size),))
    after = replace(FACTS, domains=(domain(out=out | more, size=size),))
    if guards.level_exceeded(case(before, policy)):
        assert guards.level_exceeded(case(after, policy))


@given(limits=LIMITS, taken=st.dictionaries(NODES, st.floats(0, 900)), another=NODES)
def test_with_more_nodes_taken_the_rate_never_admits_more(
    limits: Limits, taken: dict[EntityId, float], another: EntityId
) -> None:
    policy = bounded(limits)
    past = {unit: NOW_S - age_s for unit, age_s in taken.items()}
    before = replace(FACTS, domains=(domain(taken=past),))
    after = replace(FACTS, domains=(domain(taken=past | {another: NOW_S}),))
    if guards.rate_exceeded(case(before, policy)):
        assert guards.rate_exceeded(case(after, policy))


@given(limits=LIMITS, size=st.integers(0, 200))
def test_both_level_bounds_hold(limits: Limits, size: int) -> None:
    allowed = limits.level_max(size)

    assert allowed <= limits.out_max
    assert allowed <= max(1, limits.out_fraction * size)


@pytest.mark.parametrize("kind", [DomainKind.RACK, DomainKind.POOL, DomainKind.FLEET])
def test_each_kind_of_domain_has_its_own_bounds(kind: DomainKind) -> None:
    none_out = Limits(taken_max=9, window_s=1.0, out_max=0, out_fraction=1.0)
    free = Limits(taken_max=9, window_s=1.0, out_max=9, out_fraction=1.0)
    chosen = {k: none_out if k is kind else free for k in DomainKind}
    policy = replace(
        POLICY,
        pools={"h100": PoolPolicy(Autonomy.AUTO, False, chosen[DomainKind.POOL])},
        rack_limits=chosen[DomainKind.RACK],
        fleet_limits=chosen[DomainKind.FLEET],
    )
    domains = tuple(domain(kind=k) for k in DomainKind)

    reason = guards.level_exceeded(case(replace(FACTS, domains=domains), policy))

    assert reason is not None


def test_a_runbook_has_the_bounds_that_it_states() -> None:
    own = Limits(taken_max=9, window_s=1.0, out_max=1, out_fraction=1.0)
    held = domain(kind=DomainKind.RUNBOOK, out=frozenset({node(4)}))

    free = guards.level_exceeded(case(replace(FACTS, domains=(held,))))
    bound = replace(FACTS, domains=(replace(held, limits=own),))

    assert free is None
    assert guards.level_exceeded(case(bound)) is not None


@given(
    serving=st.floats(0, 1000),
    removed=st.floats(0, 1000),
    needed=st.none() | st.floats(0, 1000),
    more=st.floats(0, 1000),
)
def test_what_remains_carries_the_demand_and_taking_more_never_helps(
    serving: float, removed: float, needed: float | None, more: float
) -> None:
    model = EntityId("lab/model/m")

    def speaks(out: float) -> bool:
        facts = replace(FACTS, capacity=(CapacityFacts(model, serving, out, needed),))
        return guards.capacity_short(case(facts)) is not None

    if not speaks(removed) and removed > 0:
        floor = needed if needed is not None else POLICY.unknown_demand_fraction * serving
        assert serving - removed >= floor
        assert serving - removed > 0
    if speaks(removed):
        assert speaks(removed + more)


def test_the_last_that_serves_a_model_stays_even_without_demand() -> None:
    facts = replace(FACTS, capacity=(CapacityFacts(EntityId("lab/model/m"), 10.0, 10.0, 0.0),))

    assert guards.capacity_short(case(facts)) is not None


@given(out=SETS, more=SETS, size=st.integers(1, 12))
def test_with_more_silence_a_domain_is_never_opened_up(
    out: frozenset[EntityId], more: frozenset[EntityId], size: int
) -> None:
    before = replace(FACTS, domains=(domain(silent=out, size=size),))
    after = replace(FACTS, domains=(domain(silent=out | more, size=size),))
    if guards.domain_silent(case(before)):
        assert guards.domain_silent(case(after))


def test_a_single_silent_node_of_a_small_domain_blames_no_observer() -> None:
    one = replace(FACTS, domains=(domain(silent=frozenset({node(1)}), size=2),))
    both = replace(FACTS, domains=(domain(silent=frozenset({node(0), node(1)}), size=2),))

    assert guards.domain_silent(case(one)) is None
    assert guards.domain_silent(case(both)) is not None


@given(units=SETS, more=SETS, size=st.integers(1, 12))
def test_the_more_leaves_show_it_the_more_the_parent_is_blamed(
    units: frozenset[EntityId], more: frozenset[EntityId], size: int
) -> None:
    before = replace(FACTS, domains=(domain(same_symptom={"xid.74": units}, size=size),))
    after = replace(FACTS, domains=(domain(same_symptom={"xid.74": units | more}, size=size),))
    if guards.shared_parent(case(before)):
        assert guards.shared_parent(case(after))
    if len(units) < POLICY.shared_nodes_min:
        assert guards.shared_parent(case(before)) is None


@given(
    seen=st.frozensets(st.sampled_from(Witness)),
    gone=st.frozensets(st.sampled_from(Witness)),
    effect=st.sampled_from(Effect),
    wanted=st.integers(0, 3),
)
def test_fewer_witnesses_never_admit_more(
    seen: frozenset[Witness], gone: frozenset[Witness], effect: Effect, wanted: int
) -> None:
    asked = replace(GOOD, step=step(effect=effect, witnesses_needed=wanted))
    before = guards.witnesses_missing(replace(asked, facts=replace(FACTS, witnesses=seen)))
    after = guards.witnesses_missing(replace(asked, facts=replace(FACTS, witnesses=seen - gone)))
    if before:
        assert after


@pytest.mark.parametrize(
    ("seen", "enough_for"),
    [
        ({Witness.MODEL}, 0),
        ({Witness.MODEL, Witness.SILENCE, Witness.PEER}, 0),
        ({Witness.APPLICATION_LOG}, 0),
        ({Witness.KERNEL_LOG}, 1),
        ({Witness.KERNEL_LOG, Witness.MODEL}, 1),
        ({Witness.KERNEL_LOG, Witness.DRIVER_EVENT}, 1),
        ({Witness.TELEMETRY, Witness.PEER}, 1),
        ({Witness.KERNEL_LOG, Witness.SILENCE}, 2),
        ({Witness.PROBE, Witness.TELEMETRY}, 2),
    ],
)
def test_two_witnesses_of_one_kind_are_one(seen: set[Witness], enough_for: int) -> None:
    """A kernel line and the driver's event are one message; a model is no witness at all."""
    facts = replace(FACTS, witnesses=frozenset(seen))
    effects = {0: Effect.OBSERVE, 1: Effect.REVERSIBLE, 2: Effect.DISRUPTIVE}
    for wanted, effect in effects.items():
        asked = replace(GOOD, facts=facts, step=step(effect=effect, witnesses_needed=0))
        assert (guards.witnesses_missing(asked) is None) is (wanted <= enough_for)


def test_a_runbook_may_ask_for_more_witnesses_than_the_effect_does() -> None:
    cordon = step(ActionKind.CORDON, Effect.REVERSIBLE, witnesses_needed=2)
    alone = replace(FACTS, witnesses=frozenset({Witness.KERNEL_LOG}))

    assert guards.witnesses_missing(replace(GOOD, step=cordon, facts=alone)) is not None
    assert guards.witnesses_missing(replace(GOOD, step=cordon)) is None


def test_an_engines_own_words_carry_acts_on_that_engine_alone() -> None:
    """Its page and its log are two channels and one source."""
    words = frozenset({Witness.TELEMETRY, Witness.APPLICATION_LOG})
    facts = replace(FACTS, witnesses=words, outside_witnesses=frozenset())
    on_node = replace(GOOD, facts=facts, step=step(ActionKind.CORDON, Effect.REVERSIBLE))
    engine = EntityId("lab/engine/e-0")
    on_engine = replace(on_node, step=replace(step(ActionKind.ENGINE_RESTART), target=engine))
    confirmed = replace(facts, outside_witnesses=frozenset({Witness.SILENCE}))

    assert guards.witnesses_missing(on_node) is None
    assert guards.no_outside_witness(on_node) is not None
    assert guards.no_outside_witness(on_engine) is None
    assert guards.no_outside_witness(replace(on_node, facts=confirmed)) is None


@given(
    explained=st.booleans(),
    confirmed_by=st.frozensets(st.sampled_from(Witness)),
    others=st.integers(0, 3),
)
def test_silence_passes_only_when_explained_and_confirmed_elsewhere(
    explained: bool, confirmed_by: frozenset[Witness], others: int
) -> None:
    silence = Silence(node(0), "telemetry_absent", explained, confirmed_by)
    facts = replace(FACTS, silences=(silence,) * others + (silence,))
    elsewhere = bool(
        confirmed_by
        & {
            Witness.KERNEL_LOG,
            Witness.DRIVER_EVENT,
            Witness.CLUSTER_API,
            Witness.PEER,
            Witness.PROBE,
            Witness.TELEMETRY,
        }
    )

    assert (guards.telemetry_stale(case(facts)) is None) is (explained and elsewhere)
    one_more = replace(facts, silences=(*facts.silences, SILENCE))
    assert guards.telemetry_stale(case(one_more)) is not None


@given(granted=st.booleans(), left_s=st.integers(-1000, 1000), late_s=st.integers(0, 1000))
def test_an_approval_never_gets_better_with_age(granted: bool, left_s: int, late_s: int) -> None:
    decided = approval(granted=granted, expires_at_s=NOW_S + left_s)

    def speaks(at_s: float) -> bool:
        facts = replace(FACTS, at_s=at_s, autonomy=Autonomy.APPROVE, approval=decided)
        return bool(guards.approval_expired(case(facts)) or guards.approval_denied(case(facts)))

    assert speaks(NOW_S) is (not granted or left_s <= 0)
    if speaks(NOW_S):
        assert speaks(NOW_S + late_s)


@given(at_s=st.floats(0, 100), start_s=st.floats(0, 100), span_s=st.floats(0, 100))
def test_a_window_holds_from_its_start_until_just_before_its_end(
    at_s: float, start_s: float, span_s: float
) -> None:
    window = Window(start_s, start_s + span_s, "work", pools=frozenset({"h100"}))
    facts = replace(FACTS, at_s=at_s)
    inside = start_s <= at_s < start_s + span_s
    frozen, worked_on = replace(POLICY, freezes=(window,)), replace(POLICY, maintenance=(window,))

    assert (guards.change_freeze(case(facts, frozen)) is not None) is inside
    assert (guards.maintenance(case(facts, worked_on)) is not None) is inside


def test_a_window_for_another_pool_or_node_does_not_count() -> None:
    other_pool = Window(0, 2 * NOW_S, "work", pools=frozenset({"b200"}))
    other_node = Window(0, 2 * NOW_S, "work", nodes=frozenset({"node-7"}))
    everywhere = Window(0, 2 * NOW_S, "work")

    policy = replace(POLICY, freezes=(other_pool, other_node))
    assert guards.change_freeze(case(FACTS, policy)) is None
    assert guards.change_freeze(case(FACTS, replace(POLICY, freezes=(everywhere,)))) is not None


@given(owner=st.sampled_from(["", "s-1", "s-2", "another tool"]))
def test_only_nobody_or_we_may_own_the_node(owner: str) -> None:
    reason = guards.owned_by_other(case(replace(FACTS, owner=owner)))

    assert (reason is None) is (owner in ("", "s-1"))


@given(
    effect=st.sampled_from(Effect),
    autonomy=st.sampled_from(Autonomy),
    since=st.sampled_from(Effect),
)
def test_less_autonomy_never_admits_more(effect: Effect, autonomy: Autonomy, since: Effect) -> None:
    """The reasons that autonomy gives, from full autonomy down: once it refuses, it goes on so."""
    order = [Autonomy.AUTO, Autonomy.APPROVE, Autonomy.RECOMMEND, Autonomy.OBSERVE]
    asking = (guards.autonomy_observe, guards.autonomy_recommend, guards.approval_missing)

    def speaks(level: Autonomy) -> bool:
        facts = replace(FACTS, autonomy=level, approval_from=since)
        asked = replace(GOOD, step=step(ActionKind.DRAIN, effect), facts=facts)
        return any(guard(asked) for guard in asking)

    if speaks(autonomy):
        assert all(speaks(level) for level in order[order.index(autonomy) :])


@given(effect=st.sampled_from(Effect))
def test_before_a_tick_confirms_only_what_can_be_undone_passes(effect: Effect) -> None:
    asked = replace(GOOD, step=step(effect=effect), facts=replace(FACTS, provisional=True))

    undoable = effect in (Effect.OBSERVE, Effect.REVERSIBLE)
    assert (guards.provisional(asked) is None) is undoable


def test_a_node_named_in_the_settings_carries_the_platform() -> None:
    policy = replace(POLICY, platform_nodes=frozenset({"node-0"}))

    assert guards.hosts_platform(case(FACTS, policy)) is not None
    assert guards.hosts_platform(case(replace(FACTS, unit_name="node-1"), policy)) is None


def test_an_unreadable_halt_refuses() -> None:
    unreadable = HaltState(halted=True, by="unknown", reason="cannot be read")

    assert guards.halted(case(replace(FACTS, halt=unreadable))) is not None


def test_maintenance_that_the_topology_knows_of_refuses() -> None:
    reason = guards.maintenance(case(replace(FACTS, maintenance="disk swap")))

    assert reason is not None
    assert reason.detail == "disk swap"


def test_a_node_that_is_out_already_costs_nothing_more() -> None:
    """A drain after the cordon of the same session passes at the very bound."""
    full = Limits(taken_max=2, window_s=600.0, out_max=2, out_fraction=1.0)
    ours = frozenset({node(0), node(1)})
    facts = replace(
        FACTS, domains=(domain(out=ours, taken={n: NOW_S - 1.0 for n in ours}, size=8),)
    )

    asked = case(facts, bounded(full))
    assert guards.level_exceeded(asked) is None
    assert guards.rate_exceeded(asked) is None
    another = replace(asked, facts=replace(facts, unit=node(2)))
    assert guards.level_exceeded(another) is not None
    assert guards.rate_exceeded(another) is not None


def test_the_details_carry_the_figures() -> None:
    facts = replace(FACTS, domains=(domain(out=frozenset({node(1), node(2), node(3)})),))

    reason = guards.level_exceeded(Case(step(), plan(step()), facts, POLICY))

    assert reason is not None
    assert reason.detail == "lab/rack/r0: 4 of 8 out, 3 are allowed"


def test_domain_facts_default_to_nothing_known() -> None:
    empty = DomainFacts(EntityId("lab/rack/r0"), DomainKind.RACK, 8, frozenset())

    assert guards.rate_exceeded(case(replace(FACTS, domains=(empty,)))) is None
