"""The rules by which openings answer labels, one small made-up case for each sentence."""

import pytest

from fleetmend.scoring.match import Matching, Outcome, match
from fleetmend.scoring.records import Label, Names, Opening
from fleetmend.scoring.score import label_results

GPU, ENGINE = "gpu:0", "engine-0"
HANG = Label("engine_hang", ENGINE, 100.0, 120.0)
NEIGHBOUR = Label("noisy_neighbour", GPU, 150.0, 170.0)
NAMES = Names({"gpu:0": "node-0/gpu:0", "GPU-aa": "node-0/gpu:0"})


def opening(at_s: float, *causes: tuple[str, str], entity: str = "", key: str = "") -> Opening:
    return Opening(at_s, key or f"INC-{at_s}", causes, entity)


def outcomes(matching: Matching) -> list[Outcome]:
    return [judged.outcome for judged in matching.judged]


def judge(*openings: Opening, labels: tuple[Label, ...] = (HANG, NEIGHBOUR)) -> list[Outcome]:
    return outcomes(match(openings, labels, NAMES))


def detected(*openings: Opening, labels: tuple[Label, ...] = (HANG, NEIGHBOUR)) -> list[bool]:
    return [result.detected for result in label_results(match(openings, labels, NAMES), NAMES)]


def test_an_opening_in_the_window_with_cause_and_entity_answers() -> None:
    assert judge(opening(105, ("engine_hang", ENGINE))) == [Outcome.ANSWERS]


@pytest.mark.parametrize("name", ["gpu:0", "node-0/gpu:0", "GPU-aa"])
def test_index_full_name_and_uuid_are_one_gpu(name: str) -> None:
    found = match([opening(155, ("other", name))], [NEIGHBOUR], NAMES)
    assert label_results(found, NAMES)[0].entity_right


@pytest.mark.parametrize("end", ["gpu:0", "gpu:1"])
def test_for_a_link_either_end_is_right(end: str) -> None:
    label = Label("nvlink_contention", "gpu:0", 10.0, 20.0)
    names = Names(links=(("gpu:0", "gpu:1"),))
    found = match([opening(12, ("other", end))], [label], names)
    assert label_results(found, names)[0].entity_right


def test_a_fault_of_a_gpu_is_not_right_at_the_other_end_of_its_link() -> None:
    label = Label("gpu_straggler", "gpu:0", 10.0, 20.0)
    names = Names(links=(("gpu:0", "gpu:1"),))
    found = match([opening(12, ("other", "gpu:1"))], [label], names)
    assert not label_results(found, names)[0].entity_right


def test_a_window_ends_15_s_after_the_label() -> None:
    assert judge(opening(135, ("engine_hang", ENGINE)), labels=(HANG,)) == [Outcome.ANSWERS]
    assert judge(opening(135.1, ("other", ENGINE)), labels=(HANG,)) == [Outcome.ELSEWHERE]


def test_a_window_ends_at_the_next_labels_start_when_that_is_sooner() -> None:
    soon = Label("noisy_neighbour", GPU, 125.0, 140.0)
    # Both the hang's 15 s and the neighbour's window hold 126: only the latest can be answered.
    assert detected(opening(126, ("engine_hang", ENGINE)), labels=(HANG, soon)) == [False, False]


def test_an_opening_before_the_first_label_is_false() -> None:
    assert judge(opening(99, ("engine_hang", ENGINE))) == [Outcome.ELSEWHERE]


def test_detected_needs_the_entity_right_or_the_cause_among_the_first_three() -> None:
    other = ("b", "x"), ("c", "x")
    assert detected(opening(105, ("z", ENGINE)), labels=(HANG,)) == [True]
    assert detected(opening(105, *other, ("engine_hang", "x")), labels=(HANG,)) == [True]
    fourth = opening(105, ("a", "x"), *other, ("engine_hang", "x"))
    assert detected(fourth, labels=(HANG,)) == [False]


def test_an_opening_that_names_no_cause_can_have_its_entity_right() -> None:
    assert detected(opening(105, entity=ENGINE), labels=(HANG,)) == [True]


def test_further_openings_in_a_window_are_duplicates() -> None:
    first, second = (opening(at, ("engine_hang", ENGINE)) for at in (105, 110))
    assert judge(first, second) == [Outcome.ANSWERS, Outcome.DUPLICATE]


def test_the_earliest_opening_takes_the_match_even_when_it_is_wrong() -> None:
    wrong, right = opening(105, ("z", "y")), opening(110, ("engine_hang", ENGINE))
    assert judge(wrong, right, labels=(HANG,)) == [Outcome.WRONG, Outcome.DUPLICATE]
    assert detected(wrong, right, labels=(HANG,)) == [False]


def test_repeating_an_earlier_label_is_lingering_and_answers_nothing() -> None:
    late = opening(155, ("engine_hang", ENGINE))
    assert judge(late) == [Outcome.LINGERING]
    right = opening(156, ("noisy_neighbour", GPU))
    assert judge(late, right) == [Outcome.LINGERING, Outcome.ANSWERS]


def test_lingering_ends_60_s_after_the_labels_end() -> None:
    assert judge(opening(180, ("engine_hang", ENGINE)), labels=(HANG,)) == [Outcome.LINGERING]
    assert judge(opening(180.1, ("engine_hang", ENGINE)), labels=(HANG,)) == [Outcome.ELSEWHERE]


def test_the_same_fault_twice_is_answered_twice_and_not_taken_for_lingering() -> None:
    again = Label("engine_hang", ENGINE, 140.0, 150.0)
    first, second = opening(105, ("engine_hang", ENGINE)), opening(145, ("engine_hang", ENGINE))
    assert judge(first, second, labels=(HANG, again)) == [Outcome.ANSWERS, Outcome.ANSWERS]


def test_a_consequence_that_names_the_root_first_is_right() -> None:
    root = opening(155, ("noisy_neighbour", GPU))
    consequence = opening(158, ("noisy_neighbour", GPU), entity=ENGINE)
    assert judge(root, consequence) == [Outcome.ANSWERS, Outcome.CONSEQUENCE]


def test_a_consequence_named_as_a_root_of_its_own_is_false() -> None:
    root = opening(155, ("noisy_neighbour", GPU))
    consequence = opening(158, ("engine_slow", ENGINE))
    assert judge(root, consequence) == [Outcome.ANSWERS, Outcome.DUPLICATE]


def test_openings_in_benign_spans_are_false() -> None:
    benign = Label("benign_load", "", 100.0, 120.0, benign=True)
    assert judge(opening(105, ("request_surge", ENGINE)), labels=(benign,)) == [Outcome.BENIGN]


def test_ambiguous_labels_count_nowhere() -> None:
    unclear = Label("pcie_saturation", GPU, 100.0, 120.0, ambiguous=True)
    found = match(
        [opening(105, ("z", "y")), opening(106, ("pcie_saturation", GPU))], [unclear], NAMES
    )
    assert outcomes(found) == [Outcome.UNASKED, Outcome.UNASKED]
    assert label_results(found, NAMES) == ()


def test_labels_that_overlap_may_share_one_incident() -> None:
    both = Label("noisy_neighbour", GPU, 110.0, 130.0)
    shared = opening(112, ("engine_hang", ENGINE), ("noisy_neighbour", GPU))
    assert detected(shared, labels=(HANG, both)) == [True, True]


def test_labels_that_overlap_can_have_an_incident_each_in_any_order() -> None:
    both = Label("noisy_neighbour", GPU, 110.0, 130.0)
    of_gpu, of_engine = (
        opening(112, ("noisy_neighbour", GPU)),
        opening(114, ("engine_hang", ENGINE)),
    )
    assert judge(of_gpu, of_engine, labels=(HANG, both)) == [Outcome.ANSWERS, Outcome.ANSWERS]
    assert detected(of_gpu, of_engine, labels=(HANG, both)) == [True, True]


def test_labels_that_do_not_overlap_never_share() -> None:
    after = Label("noisy_neighbour", GPU, 121.0, 130.0)
    shared = opening(122, ("engine_hang", ENGINE), ("noisy_neighbour", GPU))
    assert sum(detected(shared, labels=(HANG, after))) <= 1


def test_an_opening_cannot_answer_a_label_that_starts_after_it() -> None:
    both = Label("noisy_neighbour", GPU, 110.0, 130.0)
    early = opening(105, ("engine_hang", ENGINE), ("noisy_neighbour", GPU))
    assert detected(early, labels=(HANG, both)) == [True, False]
