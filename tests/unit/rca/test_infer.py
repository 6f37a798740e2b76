"""The arithmetic: formula, explaining away, timing, and what a learned word weighs."""

import math
from dataclasses import replace

import pytest

from fleetmend.model.entities import EntityKind, RelationKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Severity
from rca.evidence import Key
from rca.infer import Ranked, evaluate, explain_away, lasting, posterior, rivals_of, standing
from rca.knowledge.load import knowledge
from rca.knowledge.model import Effect, Expected, FaultClass, Forbidden, Knowledge, Step
from rca.scene import Change, Hypothesis, Scene
from tests.unit.rca.made_up import START_S, engine, finding, gpu, pair, scene, single

SURE = finding(gpu(0), "xid.31", reason="application_xid", confidence=1.0)
LEAK = knowledge().signs["xid_page_fault"].leak
PRIOR = math.log(0.1 / 0.9)


def made(
    *expected: Expected, forbidden: tuple[Forbidden, ...] = (), changes: tuple[str, ...] = ()
) -> Knowledge:
    """One class, `fault`, on GPUs."""
    fault = FaultClass(
        name="fault",
        title="has a fault",
        kinds=frozenset({EntityKind.GPU}),
        prior=0.1,
        spreads=(),
        depth=1,
        needs=(),
        expected=expected,
        forbidden=forbidden,
        leads_to=(),
        silences=(),
        changes=changes,
        change_needed=False,
        effect=Effect.RISK,
        severity=Severity.P3,
        runbooks=("observe-only",),
        next_check="",
        source="",
    )
    return replace(knowledge(), classes={"fault": fault})


def expected(sign: str, strength: float = 0.8, lag_s: tuple[float, float] = (0.0, 5.0)) -> Expected:
    return Expected(sign, "self", strength, *lag_s, decisive=False, share_min=0.0)


def gain(one: Scene, assumed: dict[Key, float] | None = None) -> Ranked:
    return evaluate(one, Hypothesis("fault", gpu(0)), assumed=assumed or {})


XID = expected("xid_page_fault")


def test_a_certain_sign_adds_the_log_of_noisy_or_over_leak() -> None:
    probability = 1.0 - (1.0 - LEAK) * (1.0 - 0.8)
    assert gain(scene(single(), [SURE], known=made(XID))).log_odds == pytest.approx(
        PRIOR + math.log(probability / LEAK)
    )


def test_a_sign_on_all_gpus_of_an_engine_is_one_fact() -> None:
    shown = Expected("gpu_idle", "gpu", 0.8, 0.0, 5.0, decisive=False, share_min=0.0)
    fault = replace(
        made(shown).classes["fault"],
        kinds=frozenset({EntityKind.ENGINE}),
        spreads=(Step(RelationKind.RUNS_ON, forward=True),),
    )
    known = replace(knowledge(), classes={"fault": fault})
    idle = [finding(gpu(i), "gpu.utilization down", confidence=0.9) for i in range(2)]

    def odds(*seen: Finding) -> float:
        return evaluate(scene(pair(), seen, known=known), Hypothesis("fault", engine(0))).log_odds

    assert odds(*idle) == pytest.approx(odds(idle[0]))
    assert odds(*idle) > odds()


def test_a_sign_that_is_explained_already_adds_less() -> None:
    one = scene(single(), [SURE], known=made(XID))
    left = explain_away({}, gain(one).explains)
    assert left == {(gpu(0), "xid_page_fault"): pytest.approx(0.2)}
    assert gain(one, left).log_odds < gain(one).log_odds - 3.0
    assert gain(one, left).log_odds > PRIOR


def test_a_missing_sign_that_is_due_costs_the_log_of_its_chance_to_stay_away() -> None:
    known = made(XID, expected("gpu_idle", 0.6, (0.0, 4.0)))
    early = scene(single(), [SURE], known=known, now_s=START_S + 4.0)
    half = scene(single(), [SURE], known=known, now_s=START_S + 6.0)
    late = scene(single(), [SURE], known=known, now_s=START_S + 60.0)
    base = gain(scene(single(), [SURE], known=made(XID))).log_odds
    assert gain(early).log_odds == pytest.approx(base)
    assert gain(half).log_odds == pytest.approx(base + math.log(1.0 - 0.3))
    assert gain(late).log_odds == pytest.approx(base + math.log(1.0 - 0.6))
    assert gain(late).absent == ((gpu(0), "gpu_idle"),)


def test_a_forbidden_sign_costs_the_log_of_its_likelihood() -> None:
    known = made(XID, forbidden=(Forbidden("foreign_process", "self", 0.05),))
    stranger = finding(gpu(0), "foreign_process", reason="foreign_process", confidence=1.0)
    base = gain(scene(single(), [SURE], known=known)).log_odds
    against = gain(scene(single(), [SURE, stranger], known=known))
    assert against.log_odds == pytest.approx(base + math.log(0.05))
    assert against.against == ((gpu(0), "foreign_process"),)


def test_a_learned_word_never_rules_a_fault_out() -> None:
    known = made(XID, forbidden=(Forbidden("gpu_idle", "self", 0.05),))
    learned = finding(gpu(0), "gpu.sm_active down", reason="odd_combination", witness=Witness.MODEL)
    assert gain(scene(single(), [SURE, learned], known=known)).against == ()


def test_a_learned_word_weighs_less_than_a_measured_one() -> None:
    known = made(expected("gpu_idle"))
    measured = finding(gpu(0), "gpu.sm_active down")
    learned = replace(measured, witness=Witness.MODEL, confidence=0.9)
    one, other = (gain(scene(single(), [f], known=known)).log_odds for f in (measured, learned))
    assert one > other > PRIOR


def test_the_further_a_number_lies_out_the_more_it_says() -> None:
    known = made(expected("gpu_idle"))
    near = finding(gpu(0), "gpu.sm_active down")
    far = replace(near, symptoms=(replace(near.symptoms[0], score=30.0),))
    one, other = (gain(scene(single(), [f], known=known)).log_odds for f in (near, far))
    assert other > one > PRIOR


def test_a_symptom_out_of_its_lag_range_says_nothing_for_the_fault() -> None:
    known = made(XID, expected("gpu_idle", 0.9))
    late = finding(gpu(0), "gpu.sm_active down", onset_s=START_S + 60.0)
    one = scene(single(), [SURE, late], known=known, now_s=START_S + 61.0)
    alone = scene(single(), [SURE], known=made(XID), now_s=START_S + 61.0)
    assert gain(one).log_odds == pytest.approx(gain(alone).log_odds, abs=0.01)


def test_a_recent_change_makes_its_faults_likelier_by_the_factor() -> None:
    known = made(XID, changes=("rollout",))
    change = Change("rollout", gpu(0), START_S - 30.0)
    base = gain(scene(single(), [SURE], known=known)).log_odds
    changed = gain(scene(single(), [SURE], known=known, recent=[change])).log_odds
    assert changed - base == pytest.approx(math.log(8.0))


def test_a_fault_that_goes_on_explains_late_signs_less_but_still() -> None:
    known = made(expected("gpu_idle", 0.8))
    fault = Hypothesis("fault", gpu(0))
    when = {}
    for lag_s in (2.0, 60.0, 600.0):
        late = finding(gpu(0), "gpu.sm_active down", onset_s=START_S + lag_s)
        one = scene(single(), [late], known=known, now_s=START_S + lag_s)
        when[lag_s] = standing(one, fault, onset_s=START_S)[gpu(0), "gpu_idle"]
    assert when[2.0] == pytest.approx(0.8)
    assert when[60.0] == when[600.0] == pytest.approx(0.24)


def test_a_fault_does_not_explain_what_came_before_it() -> None:
    one = scene(
        single(),
        [finding(gpu(0), "gpu.sm_active down", onset_s=START_S - 60.0)],
        known=made(expected("gpu_idle", 0.8)),
    )
    explained = standing(one, Hypothesis("fault", gpu(0)), onset_s=START_S)
    assert explained[gpu(0), "gpu_idle"] < 0.01


def test_only_what_began_with_a_fault_keeps_it_alive() -> None:
    known = made(expected("gpu_idle", 0.9))
    fault = Hypothesis("fault", gpu(0))
    began = finding(gpu(0), "gpu.sm_active down")
    later = finding(gpu(0), "gpu.sm_active down", onset_s=START_S + 60.0)
    one, other = (scene(single(), [f], known=known) for f in (began, later))
    assert lasting(one, fault, onset_s=START_S) > PRIOR + 0.5
    assert lasting(other, fault, onset_s=START_S) == pytest.approx(PRIOR, abs=0.01)


def test_posteriors_of_rivals_and_none_of_them_add_to_one() -> None:
    one = gain(scene(single(), [SURE], known=made(XID)))
    two = replace(one, hypothesis=Hypothesis("other", gpu(0)), log_odds=one.log_odds - 1.0)
    total = posterior(one, [two]) + posterior(two, [one])
    none = 1.0 / (1.0 + math.exp(one.log_odds) + math.exp(two.log_odds))
    assert total + none == pytest.approx(1.0)


def test_rivals_share_evidence() -> None:
    one = gain(scene(single(), [SURE], known=made(XID)))
    apart = replace(one, hypothesis=Hypothesis("other", gpu(0)), supports=((gpu(0), "x"),))
    assert rivals_of(one, [one, apart]) == []
