"""Admission as a whole: what it refuses, that every guard is needed, what it must never block."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmend.model.plans import ActionKind, Autonomy, Effect, Refusal, Verdict
from remediation.admit import EXPLAINED_SILENCE, GIVING_BACK, admit
from remediation.facts import GIVES_BACK
from remediation.guards import GUARDS, Case, Guard
from tests.unit.remediation.cases import (
    FACTS,
    GOOD,
    NOW_S,
    POLICY,
    SILENCE,
    SPOILED,
    approval,
    plan,
    step,
)


def ask(case: Case, guards: tuple[Guard, ...] = GUARDS) -> Verdict:
    return admit(case.step, case.plan, case.facts, case.policy, guards=guards)


def words(verdict: Verdict) -> set[Refusal]:
    return {reason.refusal for reason in verdict.reasons}


def test_a_step_that_everything_speaks_for_is_admitted() -> None:
    verdict = ask(GOOD)

    assert verdict.admitted
    assert (verdict.plan, verdict.plan_version, verdict.step, verdict.at_s) == ("p-1", 2, 0, NOW_S)


def test_every_refusal_has_an_example_and_a_guard() -> None:
    assert set(SPOILED) == set(Refusal)
    assert len(GUARDS) == len(Refusal)


@pytest.mark.parametrize("refusal", Refusal)
def test_each_example_is_refused_for_its_one_reason(refusal: Refusal) -> None:
    assert words(ask(SPOILED[refusal])) == {refusal}


@pytest.mark.parametrize("refusal", Refusal)
def test_without_its_guard_each_example_would_be_admitted(refusal: Refusal) -> None:
    """The mutation of every guard: one that never speaks lets a wrong act through."""
    case = SPOILED[refusal]
    speaking = [guard for guard in GUARDS if guard(case) is not None]

    assert len(speaking) == 1
    assert ask(case, tuple(guard for guard in GUARDS if guard is not speaking[0])).admitted


def test_all_reasons_are_reported_at_once() -> None:
    facts = replace(
        FACTS, autonomy=Autonomy.OBSERVE, target_known=False, catching_up="offsets lost"
    )

    assert words(ask(replace(GOOD, facts=facts))) == {
        Refusal.AUTONOMY_OBSERVE,
        Refusal.UNKNOWN_TARGET,
        Refusal.CATCHING_UP,
    }


@given(
    wrong=st.lists(st.sampled_from(sorted(set(Refusal) - {Refusal.OWNED_BY_OTHER}))),
    action=st.sampled_from(sorted(GIVES_BACK)),
)
def test_giving_back_is_always_admitted(wrong: list[Refusal], action: ActionKind) -> None:
    """Whatever is wrong with the fleet, the halt included, capacity that is ours returns."""
    facts, policy = FACTS, POLICY
    for refusal in wrong:
        spoiled = SPOILED[refusal]
        changes = {
            name: getattr(spoiled.facts, name)
            for name in facts.__dataclass_fields__
            if getattr(spoiled.facts, name) != getattr(FACTS, name)
        }
        facts = replace(facts, **changes)
        policy = spoiled.policy if spoiled.policy is not POLICY else policy
    back = step(action, Effect.REVERSIBLE)

    verdict = admit(back, plan(back), facts, policy)

    assert verdict.admitted
    refused = bool(ask(replace(GOOD, step=back, facts=facts, policy=policy), GUARDS).waivers)
    assert verdict.waivers == ((GIVING_BACK,) if refused else ())


@pytest.mark.parametrize("refusal", Refusal)
def test_what_is_under_way_is_stopped_by_what_makes_the_rest_wrong_and_by_nothing_else(
    refusal: Refusal,
) -> None:
    case = SPOILED[refusal]
    under_way = replace(case, facts=replace(case.facts, under_way=True))
    stops = {
        Refusal.HALTED,
        Refusal.UNKNOWN_TARGET,
        Refusal.CATCHING_UP,
        Refusal.AUTONOMY_OBSERVE,
        Refusal.AUTONOMY_RECOMMEND,
        Refusal.APPROVAL_DENIED,
        Refusal.OWNED_BY_OTHER,
        Refusal.HOSTS_PLATFORM,
        Refusal.MAINTENANCE,
        Refusal.SHARED_PARENT,
        Refusal.CAPACITY_SHORT,
    }

    verdict = ask(under_way)

    assert words(verdict) == {refusal} & stops
    assert verdict.waivers == (() if refusal in stops else ("under_way",))


def test_giving_back_what_another_holds_is_refused() -> None:
    back = step(ActionKind.UNCORDON, Effect.REVERSIBLE)

    verdict = ask(replace(SPOILED[Refusal.OWNED_BY_OTHER], step=back))

    assert words(verdict) == {Refusal.OWNED_BY_OTHER}


@pytest.mark.parametrize("refusal", Refusal)
def test_a_step_that_only_observes_is_never_refused(refusal: Refusal) -> None:
    notify = step(ActionKind.NOTIFY, Effect.OBSERVE)

    assert ask(replace(SPOILED[refusal], step=notify)).admitted


def test_a_silence_that_the_diagnosis_explains_is_waived_by_name() -> None:
    confirmed = replace(SILENCE, explained=True, confirmed_by=FACTS.witnesses)

    verdict = ask(replace(GOOD, facts=replace(FACTS, silences=(confirmed,))))

    assert verdict.admitted
    assert verdict.waivers == (EXPLAINED_SILENCE,)


def test_a_destructive_step_asks_a_person_unless_the_pool_grants_it() -> None:
    reset = step(ActionKind.ENGINE_RESTART, Effect.DESTRUCTIVE)
    granted = replace(POLICY, default=replace(POLICY.default, destructive_auto=True))

    assert words(ask(replace(GOOD, step=reset))) == {Refusal.APPROVAL_MISSING}
    assert ask(replace(GOOD, step=reset, policy=granted)).admitted


def test_a_runbook_may_ask_a_person_earlier_than_the_pool_does() -> None:
    facts = replace(FACTS, approval_from=Effect.DISRUPTIVE)

    assert words(ask(replace(GOOD, facts=facts))) == {Refusal.APPROVAL_MISSING}
    assert ask(replace(GOOD, facts=replace(facts, approval=approval()))).admitted


def test_a_recommending_pool_does_not_act_even_when_approved() -> None:
    facts = replace(FACTS, autonomy=Autonomy.RECOMMEND, approval=approval())

    assert words(ask(replace(GOOD, facts=facts))) == {Refusal.AUTONOMY_RECOMMEND}


def test_a_person_who_agrees_takes_the_doubt_upon_them_while_the_approval_holds() -> None:
    asking = replace(GOOD.facts, cause_score=0.1, autonomy=Autonomy.APPROVE)
    assert ask(replace(GOOD, facts=replace(asking, approval=approval()))).admitted
    alone = replace(GOOD.facts, cause_score=0.1)
    assert words(ask(replace(GOOD, facts=alone))) == {Refusal.CAUSE_DOUBTFUL}
    just = replace(GOOD.facts, cause_score=0.5)
    assert ask(replace(GOOD, facts=just)).admitted
