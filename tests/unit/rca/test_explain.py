"""Sentences hold what was measured and nothing else."""

from dataclasses import replace

from fleetmend.model.incidents import Abstention
from rca.evidence import SignIndex
from rca.explain import evidence_words, next_check, title
from rca.infer import rivals_of
from rca.knowledge.load import knowledge
from rca.scene import Hypothesis
from tests.unit.rca.faults import FAULTS
from tests.unit.rca.made_up import engine, finding, gpu, ranked, scene, single

HYPOTHESIS = Hypothesis("engine_hang", engine(0))


def words(symptom: str, **measured: float | str | None) -> str:
    made = finding(gpu(0), symptom)
    made = replace(made, symptoms=(replace(made.symptoms[0], **measured),))  # type: ignore[arg-type]
    return evidence_words(SignIndex(knowledge()).observations(made)[0], knowledge())


def test_evidence_gives_the_figure_and_what_was_expected() -> None:
    assert words("gpu.power up", observed=689.4, expected_high=230.0, unit="W") == (
        "the GPU draws more power: gpu.power 689 W, expected at most 230 W"
    )
    assert words("gpu.sm_clock down", observed=1590.0, expected_low=1980.0, unit="MHz") == (
        "the SM clock fell: gpu.sm_clock 1590 MHz, expected at least 1980 MHz"
    )


def test_shares_and_bytes_are_written_for_people() -> None:
    assert "88%" in words("gpu.sm_active up", observed=0.8781, unit="1")
    assert "144 GB" in words("gpu.memory_used up", observed=143.6e9, unit="By")
    assert "31.7 GB/s" in words("gpu.pcie_tx up", observed=31.74e9, unit="By/s")


def test_evidence_without_a_figure_says_only_what_it_is() -> None:
    assert words("xid.79 present") == "Xid 79: the GPU has fallen off the bus"


def test_hostile_text_is_cut() -> None:
    made = replace(finding(gpu(0), "xid.79"), detail="x" * 5000)
    seen = SignIndex(knowledge()).observations(made)[0]
    assert len(evidence_words(seen, knowledge())) < 300


def test_a_title_names_the_entity_and_the_cause() -> None:
    assert title(HYPOTHESIS, (), knowledge(), Abstention.NONE) == (
        "engine engine-0 is alive and does nothing"
    )


def test_a_title_says_when_it_is_not_certain_or_cannot_see() -> None:
    assert "not certain" in title(HYPOTHESIS, (), knowledge(), Abstention.SMALL_MARGIN)
    assert "cannot be seen" in title(HYPOTHESIS, (), knowledge(), Abstention.BLIND)


def test_without_a_cause_the_title_says_what_is_seen() -> None:
    seen = SignIndex(knowledge()).observations(finding(gpu(0), "xid.999", confidence=0.9))
    assert title(None, seen, knowledge(), Abstention.UNKNOWN_SIGNATURE) == "GPU gpu-0: xid.999"


def test_the_next_check_tells_the_first_causes_apart() -> None:
    seen = scene(single(), FAULTS["request_surge"].findings)
    everything = ranked(seen)
    first = everything[0]
    text = next_check(seen, first, rivals_of(first, everything))
    assert "to tell request_surge from long_prompt_flood see whether prompts are longer" in text
    assert text.endswith("it speaks for long_prompt_flood")


def test_without_rivals_the_next_check_is_the_classes_own() -> None:
    seen = scene(single(), FAULTS["gpu_page_fault"].findings)
    first = ranked(seen)[0]
    assert next_check(seen, first, []) == knowledge().classes["gpu_page_fault"].next_check
