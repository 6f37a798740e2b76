"""The simulated judge in short: a few cases of `benchmarks.simulated`, and its peers."""

import numpy as np
import pytest

from benchmarks.simulated_cases import Case, play
from benchmarks.simulated_peers import baro, by_score, mad_shift, n_sigma, page_rank, traversal


@pytest.mark.parametrize("name", ["power_brake"])
def test_a_plain_fault_is_named_first(name: str) -> None:
    (verdict,) = play(Case((name,), seed=1, gpus=40))

    assert verdict.place == 1
    assert verdict.said[0] == name
    assert verdict.peers.keys() == {"n_sigma", "baro", "traversal", "page_rank"}


def test_what_shifted_most_scores_most_and_what_nobody_heard_scores_nothing() -> None:
    rng = np.random.default_rng(1)
    calm, moved = rng.normal(0, 1, (60, 2)), rng.normal(8, 1, (30, 2))
    silent = np.full((30, 2), np.nan)
    for score in (n_sigma, baro, mad_shift):
        assert score(calm, moved) > score(calm, calm[:30])
        with pytest.warns(RuntimeWarning):
            assert score(calm, silent) == 0.0


def test_traversal_and_page_rank_go_from_a_symptom_to_what_it_depends_on() -> None:
    scores = {"engine": 9.0, "gpu": 8.0, "node": 0.1}
    graph = {"engine": ["gpu"], "gpu": ["node"]}

    assert by_score(scores)[0] == "engine"
    assert traversal(scores, graph)[0] == "gpu"
    assert page_rank(scores, graph)[0] == "gpu"
