"""The figures: what perfect, silent and blind runs get, and what is counted over what."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.scoring.blind import blind_openings, commonest_causes, standing_claims
from fleetmend.scoring.records import Label, Names, Opening
from fleetmend.scoring.score import Score, quantile, score_recording, total
from fleetmend.scoring.windows import calm_s, window_end_s

NAMES = Names()


@st.composite
def label_sets(draw: st.DrawFn) -> list[Label]:
    """Faults one after the other, with gaps from none to a minute."""
    labels, at_s = [], 0.0
    for number in range(draw(st.integers(1, 8))):
        at_s += draw(st.floats(0.5, 60.0))
        end_s = at_s + draw(st.floats(1.0, 40.0))
        cause = draw(st.sampled_from(["engine_hang", "noisy_neighbour", "pcie_saturation"]))
        labels.append(Label(cause, f"engine-{number % 3}", at_s, end_s))
        at_s = end_s
    return labels


def run(openings: list[Opening], labels: list[Label]) -> Score:
    return score_recording(
        "made-up", openings=openings, labels=labels, names=NAMES, span_s=(0.0, 1000.0)
    )


@given(label_sets())
@settings(max_examples=60)
def test_perfect_openings_score_everything(labels: list[Label]) -> None:
    perfect = [
        Opening(label.start_s, f"INC-{i}", ((label.cause, label.entity),))
        for i, label in enumerate(labels)
    ]
    score = run(perfect, labels)
    n = len(labels)
    figures = (score.detected, score.cause_top1, score.cause_top3, score.entity_right)
    assert figures == (n, n, n, n)
    assert (score.false_incidents, score.lingering) == (0, 0)
    assert score.delays_s == (0.0,) * n


@given(label_sets())
@settings(max_examples=30)
def test_silence_scores_nothing(labels: list[Label]) -> None:
    score = run([], labels)
    assert (score.labels, score.detected, score.false_incidents) == (len(labels), 0, 0)
    assert score.row()["delay_p50_s"] is None


@given(label_sets(), st.lists(st.floats(0.0, 500.0), max_size=12))
@settings(max_examples=60)
def test_every_opening_is_counted_once_and_no_figure_exceeds_the_labels(
    labels: list[Label], moments: list[float]
) -> None:
    openings = [
        Opening(at_s, f"INC-{i}", (("engine_hang", "engine-0"),)) for i, at_s in enumerate(moments)
    ]
    score = run(openings, labels)
    assert score.detected + score.false_incidents + score.lingering <= score.openings
    assert max(score.detected, score.cause_top1, score.cause_top3) <= score.labels
    assert score.cause_top1 <= score.cause_top3 <= score.detected


def test_benign_and_ambiguous_labels_are_not_counted() -> None:
    labels = [
        Label("a", "gpu:0", 10.0, 20.0, benign=True),
        Label("b", "gpu:0", 100.0, 120.0, ambiguous=True),
        Label("c", "gpu:0", 200.0, 220.0),
    ]
    assert run([], labels).labels == 1


def test_delay_runs_from_the_labels_start_and_only_over_what_was_detected() -> None:
    labels = [Label("a", "x", 10.0, 20.0), Label("b", "y", 100.0, 120.0)]
    score = run([Opening(14.0, "1", (("a", "x"),)), Opening(109.0, "2", (("z", "w"),))], labels)
    assert score.row()["delay_p50_s"] == pytest.approx(4.0)
    assert score.row()["delay_n"] == 1


def test_calm_time_is_outside_all_windows_and_in_benign_spans() -> None:
    labels = [
        Label("a", "x", 100.0, 120.0),
        Label("b", "x", 130.0, 150.0),
        Label("load", "", 300.0, 400.0, benign=True),
    ]
    # The first window is cut at 130, the second runs to 165: 100 to 165 is not calm.
    assert window_end_s(labels[0], labels) == 130.0
    assert calm_s(labels, start_s=0.0, end_s=600.0) == pytest.approx(600.0 - 65.0)


def test_a_total_pools_delays_and_adds_counts() -> None:
    labels = [Label("a", "x", 10.0, 20.0)]
    one = run([Opening(11.0, "1", (("a", "x"),))], labels)
    other = run([Opening(15.0, "1", (("a", "x"),)), Opening(500.0, "2", ())], labels)
    both = total([one, other])
    assert (both.labels, both.detected, both.false_incidents) == (2, 2, 1)
    assert both.delays_s == (1.0, 5.0)


def test_quantiles_interpolate_between_ranks() -> None:
    assert quantile((1.0, 2.0, 3.0, 4.0), 0.5) == pytest.approx(2.5)
    assert quantile((7.0,), 0.95) == 7.0


def test_the_blind_timer_opens_as_many_at_even_spacing_with_the_commonest_causes() -> None:
    labels = [
        Label("rare", "x", 0.0, 1.0),
        Label("common", "y", 10.0, 11.0),
        Label("common", "y", 20.0, 21.0),
        Label("lawful", "", 30.0, 31.0, benign=True),
    ]
    causes = commonest_causes(labels)
    assert causes == (("common", "y"), ("rare", "x"))
    timer = blind_openings(4, span_s=(0.0, 40.0), causes=causes)
    assert [opening.at_s for opening in timer] == [5.0, 15.0, 25.0, 35.0]
    assert {opening.causes for opening in timer} == {causes}


def test_no_claim_stands_that_the_timer_matches() -> None:
    labels = [Label("a", "x", 10.0, 20.0), Label("b", "y", 100.0, 120.0)]
    same = run([Opening(12.0, "1", (("a", "x"),))], labels)
    assert standing_claims(same, same) == ()
    assert "cause_top1" in standing_claims(same, run([], labels))
