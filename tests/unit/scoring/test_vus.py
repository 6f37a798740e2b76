"""VUS-PR against TSB-AD's own code, whose answers on random cases are kept in a golden file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fleetmend.scoring.vus import period_of, vus_pr

GOLDEN = Path(__file__).parents[2] / "data" / "golden" / "vus_pr.json"
CASES: list[dict[str, Any]] = json.loads(GOLDEN.read_text())["cases"]


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_the_volume_is_the_one_that_its_authors_code_gives(case: dict[str, Any]) -> None:
    labels = np.zeros(case["rows"], int)
    for first, last in case["events"]:
        labels[first : last + 1] = 1

    found = vus_pr(labels, np.array(case["scores"]), window=case["window"])

    assert found == pytest.approx(case["vus_pr"], abs=1e-12)


def test_the_window_is_the_period_and_125_where_there_is_none() -> None:
    rows = np.arange(2000.0)

    assert period_of(np.sin(2 * np.pi * rows / 40)) == 40
    assert period_of(np.ones(2000)) == 125


def test_one_lucky_row_does_not_make_a_whole_event_found() -> None:
    """With point adjustment both scores would be worth the same."""
    labels = np.zeros(500, int)
    labels[100:200] = 1
    one, all_rows = np.zeros(500), labels.astype(float)
    one[150] = 1.0

    assert vus_pr(labels, all_rows, window=0) == pytest.approx(1.0)
    assert vus_pr(labels, one, window=0) < 0.3
