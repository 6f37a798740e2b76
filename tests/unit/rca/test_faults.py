"""Each fault class, from the findings that its measured tables would give, is blamed first."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.entities import EntityKind, RelationKind, entity_id
from rca.knowledge.load import knowledge
from rca.knowledge.model import FaultClass, Knowledge
from rca.record import abstain
from tests.unit.rca.faults import FAULTS, foreign
from tests.unit.rca.made_up import (
    START_S,
    engine,
    finding,
    first,
    gpu,
    node,
    pair,
    ranked,
    relation,
    scene,
    single,
)


def test_every_class_has_a_case() -> None:
    assert set(FAULTS) == set(knowledge().classes)


@pytest.mark.parametrize("name", sorted(FAULTS))
@pytest.mark.parametrize("later_s", [3.0, 14.0])
def test_the_fault_is_blamed_first(name: str, later_s: float) -> None:
    fault = FAULTS[name]
    seen = scene(fault.fleet(), fault.findings, now_s=START_S + later_s, recent=fault.recent)
    assert first(seen) == (name, fault.blamed)


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_the_fault_is_likelier_than_chance_at_once(name: str) -> None:
    fault = FAULTS[name]
    seen = scene(fault.fleet(), fault.findings, now_s=START_S + 3.0, recent=fault.recent)
    assert ranked(seen)[0].log_odds >= seen.settings.open_log_odds


@given(st.data())
@settings(max_examples=25, deadline=None)
def test_the_order_of_findings_changes_nothing(data: st.DataObject) -> None:
    fault = FAULTS[data.draw(st.sampled_from(sorted(FAULTS)))]
    shuffled = data.draw(st.permutations(fault.findings))
    one = scene(fault.fleet(), fault.findings, recent=fault.recent)
    other = scene(fault.fleet(), shuffled, recent=fault.recent)
    assert ranked(one) == ranked(other)


def without(change: Callable[[FaultClass], FaultClass]) -> Knowledge:
    """The knowledge with every class changed."""
    known = knowledge()
    return replace(known, classes={name: change(c) for name, c in known.classes.items()})


SLOW_WITH_A_STRANGER = [
    foreign(gpu(0)),
    finding(engine(0), "engine.decode_rate down", "engine.requests_waiting up"),
    finding(gpu(0), "gpu.sm_active up", "gpu.work_per_token up", "gpu.dram_active up"),
]


def test_a_foreign_process_rules_out_a_slow_operator() -> None:
    seen = scene(single(), SLOW_WITH_A_STRANGER)
    verdicts = {r.hypothesis.fault: r for r in ranked(seen)}
    assert (gpu(0), "foreign_process") in verdicts["operator_degradation"].against
    assert first(seen) == ("noisy_neighbour", gpu(0))


def test_must_not_see_is_what_rules_it_out() -> None:
    """Without the rule the same findings leave the two close together."""
    blind = without(lambda fault: replace(fault, forbidden=()))
    with_rule = {
        r.hypothesis.fault: r.log_odds for r in ranked(scene(single(), SLOW_WITH_A_STRANGER))
    }
    loose = scene(single(), SLOW_WITH_A_STRANGER, known=blind)
    without_rule = {r.hypothesis.fault: r.log_odds for r in ranked(loose)}
    fell = without_rule["operator_degradation"] - with_rule["operator_degradation"]
    assert fell > 2.0


ONLY_A_QUEUE = [
    finding(
        engine(0),
        "engine.arrival_rate up",
        "engine.requests_waiting up",
        "engine.requests_running up",
        "engine.ttft_p50 up",
        "engine.decode_rate down",
    ),
]


def test_short_prompts_that_can_be_heard_speak_against_a_flood() -> None:
    later = scene(single(), ONLY_A_QUEUE, now_s=START_S + 14.0)
    flood = next(r for r in ranked(later) if r.hypothesis.fault == "long_prompt_flood")
    assert (engine(0), "prompts_long") in flood.absent
    assert first(later) == ("request_surge", engine(0))


def test_absence_does_not_count_before_it_is_due() -> None:
    early = scene(single(), ONLY_A_QUEUE, now_s=START_S + 3.0)
    assert all(r.absent == () for r in ranked(early))


def test_absence_does_not_count_on_an_entity_that_is_silent() -> None:
    mute = finding(engine(0), "telemetry_absent", reason="absent", detector="coverage")
    later = scene(single(), [*ONLY_A_QUEUE, mute], now_s=START_S + 14.0)
    flood = next(r for r in ranked(later) if r.hypothesis.fault == "long_prompt_flood")
    assert (engine(0), "prompts_long") not in flood.absent


@pytest.mark.parametrize("reason", ["collector_quiet", "pool_quiet", "exporter_down"])
def test_absence_does_not_count_where_a_whole_domain_is_not_heard(reason: str) -> None:
    """One finding stands for its children: none of them shows its own silence."""
    collector = entity_id("test", EntityKind.COLLECTOR, "prometheus")
    pool = entity_id("test", EntityKind.POOL, "chat")
    domain = {"collector_quiet": collector, "pool_quiet": pool}.get(reason, node(0))
    changes = [
        *single(),
        relation(collector, RelationKind.OBSERVES, node(0)),
        relation(node(0), RelationKind.MEMBER_OF, pool),
    ]
    quiet = finding(domain, "telemetry_absent", reason=reason, detector="coverage")
    later = scene(changes, [*ONLY_A_QUEUE, quiet], now_s=START_S + 14.0)
    flood = next(r for r in ranked(later) if r.hypothesis.fault == "long_prompt_flood")
    assert (engine(0), "prompts_long") not in flood.absent


def test_absence_of_a_rare_signal_does_not_count_until_it_was_seen_somewhere() -> None:
    leak = [finding(gpu(0), "gpu.memory_used up", reason="monotone_growth")]
    unheard = scene(single(), leak, now_s=START_S + 30.0, heard=[])
    heard = scene(single(), leak, now_s=START_S + 30.0, heard=["test/engine_memory_grows"])
    blamed = [
        next(r for r in ranked(one) if r.hypothesis.fault == "engine_memory_leak")
        for one in (unheard, heard)
    ]
    assert blamed[0].log_odds > blamed[1].log_odds + 1.0
    assert (engine(0), "engine_memory_grows") in blamed[1].absent


def test_a_crash_is_told_from_a_hang_by_the_memory() -> None:
    quiet = finding(gpu(0), "gpu.sm_active down", "gpu.power down")
    hung = finding(engine(0), "no_progress", "telemetry_absent", reason="hung", confidence=0.9)
    released = finding(gpu(0), "gpu.memory_used down", "gpu.sm_clock down", key="released")
    dead = finding(engine(0), "no_progress", "telemetry_absent", reason="crashed", confidence=0.9)
    assert first(scene(single(), [quiet, hung])) == ("engine_hang", engine(0))
    assert first(scene(single(), [quiet, dead, released])) == ("engine_crash", engine(0))


def test_the_straggler_is_blamed_and_not_the_gpu_that_waits() -> None:
    fault = FAULTS["gpu_straggler"]
    seen = scene(pair(), fault.findings)
    blamed = [r.hypothesis.entity for r in ranked(seen) if r.hypothesis.fault == "gpu_straggler"]
    assert blamed[0] == gpu(1)


def test_a_straggler_needs_a_peer() -> None:
    alone = scene(single(), [foreign(gpu(0)), finding(gpu(0), "gpu.sm_clock down")])
    assert all(r.hypothesis.fault != "gpu_straggler" for r in ranked(alone))


def test_either_end_of_a_link_does_not_count_as_a_rival() -> None:
    seen = scene(pair(), FAULTS["nvlink_contention"].findings)
    best, *others = ranked(seen)
    assert others[0].hypothesis.fault == "nvlink_contention"
    assert best.log_odds == pytest.approx(others[0].log_odds)
    assert best.log_odds - others[1].log_odds > seen.settings.margin_log_odds


def test_a_rollout_is_blamed_only_after_a_change() -> None:
    fault = FAULTS["bad_rollout"]
    unchanged = scene(fault.fleet(), fault.findings)
    assert first(unchanged)[0] != "bad_rollout"


def test_a_change_long_ago_does_not_count() -> None:
    fault = FAULTS["bad_rollout"]
    old = replace(fault.recent[0], at_s=START_S - 2000.0)
    assert first(scene(fault.fleet(), fault.findings, recent=[old]))[0] != "bad_rollout"


def test_few_members_of_a_domain_do_not_accuse_it() -> None:
    fault = FAULTS["rack_outage"]
    few = scene(fault.fleet(), fault.findings[:3])
    assert all(r.hypothesis.fault != "rack_outage" for r in ranked(few))
    many = scene(fault.fleet(), fault.findings[:4])
    assert first(many)[0] == "rack_outage"


def test_an_effect_does_not_come_before_its_cause() -> None:
    """Onset order is soft: the same findings, the effect long before, speak less for the cause."""
    stranger = finding(gpu(0), "foreign_process", reason="foreign_process", onset_s=START_S)
    busy = finding(gpu(0), "gpu.sm_active up", "gpu.power up")
    in_order = scene(single(), [stranger, busy])
    early = finding(gpu(0), "gpu.sm_active up", "gpu.power up", onset_s=START_S - 40.0)
    out_of_order = scene(single(), [stranger, early])
    assert ranked(in_order)[0].log_odds > ranked(out_of_order)[0].log_odds + 1.0


def test_a_diagnosis_with_close_rivals_says_so() -> None:
    vague = scene(
        single(), [finding(engine(0), "engine.requests_waiting up", "engine.ttft_p50 up")]
    )
    best, *others = ranked(vague)
    rival = [r for r in others if set(r.supports) & set(best.supports)]
    close = replace(best, log_odds=rival[0].log_odds + 0.1)
    assert abstain(vague, close, rival).value == "small_margin"


def test_a_diagnosis_that_cannot_see_says_so() -> None:
    mute = [
        finding(engine(0), "telemetry_absent", reason="absent", detector="coverage"),
        finding(gpu(0), "telemetry_absent", reason="absent", detector="coverage", key="gpu"),
        finding(node(0), "telemetry_absent", reason="absent", detector="coverage", key="node"),
        finding(engine(0), "engine.requests_waiting up"),
    ]
    dark = scene(single(), mute, heard=[])
    surge = next(r for r in ranked(dark) if r.hypothesis.fault == "request_surge")
    assert surge.unheard > dark.settings.blind_share
    assert abstain(dark, surge, []).value == "blind"


DECISIVE = [
    (fault.name, expected.sign)
    for fault in knowledge().classes.values()
    for expected in fault.expected
    if expected.decisive and expected.on == "self"
]


@pytest.mark.parametrize(("name", "sign"), DECISIVE)
def test_a_decisive_sign_names_its_class_alone(name: str, sign: str) -> None:
    fault, match = knowledge().classes[name], knowledge().signs[sign].matches[0]
    kind = sorted(fault.kinds)[0].value
    known = {"gpu": gpu(0), "engine": engine(0), "node": node(0)}
    at = known.get(kind, entity_id("test", EntityKind(kind), "test"))
    if match.direction is None:
        alone = finding(at, "something", reason=match.name)
    else:
        alone = finding(at, f"{match.name} {match.direction.value}", reason="counter_rose")
    seen = scene(pair() if fault.needs else single(), [alone], now_s=START_S + 3.0)
    best = ranked(seen)[0]
    assert (best.hypothesis.fault, best.hypothesis.entity) == (name, at)
    assert best.log_odds >= seen.settings.open_log_odds
