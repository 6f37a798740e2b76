"""Golden prompts: what is learnt, what is a miss, and what survives a restart."""

import math
import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.probe.golden import Memory, Said, Verdict, check, compare
from collectors.probe.load import Load, Loads, LoadTap
from collectors.probe.pace import Pace
from collectors.probe.references import References
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.probe import GoldenSettings, ProbeSettings
from tests.unit.collectors.fakes import ListSink

GOLDEN = GoldenSettings(learn=3, tolerance=0.1)
ENGINE = entity_id("c", EntityKind.ENGINE, "e")


def said(*logprobs: float, tokens: str = "") -> Said:
    return Said(tuple(tokens or "abcdefgh"[: len(logprobs)]), logprobs)


def learnt(memory: Memory | None = None, build: str = "m 1") -> Memory:
    """A memory with the reference (-0.5, -1.0)."""
    memory = memory or Memory()
    for _ in range(3):
        assert check(memory, said(-0.5, -1.0), build, GOLDEN).verdict is Verdict.LEARNING
    assert memory.reference == said(-0.5, -1.0)
    return memory


def test_a_reference_is_learnt_from_answers_that_agree() -> None:
    memory = Memory()
    for first in (-0.50, -0.56, -2.0, -2.04, -1.98):
        check(memory, said(first), "m 1", GOLDEN)
    assert memory.reference is not None
    assert memory.reference.logprobs == pytest.approx((-2.0066667,))
    assert (memory.checked, memory.missed) == (0, 0)


@pytest.mark.parametrize(
    ("answer", "verdict", "distance", "at_token"),
    [
        (said(-0.5, -1.0), Verdict.MATCH, 0.0, 0),
        (said(-0.59, -1.0), Verdict.MATCH, 0.09, 0),
        (said(-0.5, -1.2), Verdict.DRIFT, 0.2, 1),
        (said(-0.5, math.nan), Verdict.DRIFT, math.nan, 1),
        (said(-0.5, -math.inf), Verdict.DRIFT, math.inf, 1),
        (said(-0.5, -1.0, tokens="ax"), Verdict.OTHER_TOKEN, math.nan, 1),
        (said(-0.5), Verdict.OTHER_TOKEN, math.nan, 1),
        (said(math.nan, math.nan), Verdict.UNSTATED, math.nan, 0),
        (Said((), ()), Verdict.UNSTATED, math.nan, 0),
    ],
)
def test_what_is_a_miss(answer: Said, verdict: Verdict, distance: float, at_token: int) -> None:
    found = check(learnt(), answer, "m 1", GOLDEN)
    assert (found.verdict, found.at_token) == (verdict, at_token)
    assert found.distance == pytest.approx(distance, nan_ok=True)


def test_misses_in_a_row_end_with_a_match_and_the_rate_is_kept() -> None:
    memory = learnt()
    rows = []
    for first in (-0.9, -0.9, -0.5, -0.9, -0.9, -0.9):
        check(memory, said(first, -1.0), "m 1", GOLDEN)
        rows.append(memory.in_a_row)
    assert rows == [1, 2, 0, 1, 2, 3]
    assert (memory.checked, memory.missed) == (6, 5)


def test_another_build_is_learnt_anew_and_is_no_miss() -> None:
    memory = learnt()
    check(memory, said(-0.9, -1.0), "m 1", GOLDEN)
    assert memory.in_a_row == 1
    assert check(memory, said(-3.0, -3.0), "m 2", GOLDEN).verdict is Verdict.LEARNING
    assert (memory.in_a_row, memory.reference) == (0, None)


LOGPROBS = st.lists(st.floats(-20, 0), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(LOGPROBS, st.data())
def test_an_answer_matches_only_within_the_tolerance_at_every_token(
    logprobs: list[float], data: st.DataObject
) -> None:
    moves = data.draw(
        st.lists(st.floats(-0.3, 0.3), min_size=len(logprobs), max_size=len(logprobs))
    )
    moved = [value + move for value, move in zip(logprobs, moves, strict=True)]
    found = compare(said(*logprobs), said(*moved), 0.1)
    far = max(abs(a - b) for a, b in zip(logprobs, moved, strict=True))
    assert found.distance == far
    assert (found.verdict is Verdict.MATCH) == (far <= 0.1)


def test_references_and_counts_outlive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "kept" / "golden.json"
    before = References(path)
    memory = learnt(before.memory("e", "One,", 2))
    check(memory, said(-0.9, -1.0), "m 1", GOLDEN)
    before.memory("e", "Two,", 2)
    before.save()
    after = References(path).memory("e", "One,", 2)
    assert after == memory
    assert References(path).memory("e", "One,", 3) == Memory()


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        '{"entries": [{"engine": "e"}]}',
        '{"entries": [{"engine": "e", "prompt": "p", "tokens_max": 1, "build": "", "tokens": [],'
        ' "logprobs": [], "checked": 0, "missed": 0, "in_a_row": 0}]}',
    ],
)
def test_a_file_that_holds_no_references_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "golden.json"
    path.write_text(content)
    with pytest.raises(BadInput) as refused:
        References(path)
    assert refused.value.where == str(path)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 40), st.integers(0, 9))
def test_pauses_grow_with_failures_within_their_bounds(failures: int, seed: int) -> None:
    limits = ProbeSettings(retry_s=1, backoff_max_s=4, jitter=0.1)
    pause_s = Pace(limits, random.Random(seed)).after_s(failures, 10.0)
    wanted_s = 10.0 if failures == 0 else min(2.0 ** (failures - 1), 4.0)
    assert 0.9 * wanted_s <= pause_s <= 1.1 * wanted_s


def batch(at_s: float, **figures: float) -> SampleBatch:
    return SampleBatch.from_rows(
        [(at_s, ENGINE, f"engine.{name}", value) for name, value in figures.items()]
    )


def test_the_load_of_an_engine_is_read_from_what_the_scraper_sends_on() -> None:
    loads, sink = Loads(), ListSink()
    tap = LoadTap(sink, loads)
    tap.samples(batch(1.0, requests_running=4, requests_waiting=2, generation_tokens=10), "n")
    assert loads.of(ENGINE, now_s=2.0, fresh_s=5.0) == Load(1.0, 4, 2, 10, moves=False)
    tap.samples(batch(2.0, requests_running=4, requests_waiting=2, generation_tokens=30), "n")
    load = loads.of(ENGINE, now_s=2.0, fresh_s=5.0)
    assert load is not None
    assert (load.busy, load.alone) == (True, False)
    tap.samples(batch(3.0, scrape_up=1), "n")
    assert loads.of(ENGINE, now_s=7.5, fresh_s=5.0) is None
    assert len(sink.batches) == 3


@pytest.mark.parametrize(
    ("load", "busy", "alone"),
    [
        (Load(0.0, 0, 0, 5), False, True),
        (Load(0.0, 0, None, 5, moves=True), False, True),
        (Load(0.0, 1, 0, 5, moves=True), False, False),
        (Load(0.0, 8, 4, 5, moves=True), True, False),
        (Load(0.0, 8, 4, 5, moves=False), False, False),  # a queue that does not move: a hang
        (Load(0.0, None, None, 5), False, False),
    ],
)
def test_a_queue_that_moves_is_busy_and_nothing_in_hand_is_alone(
    load: Load, busy: bool, alone: bool
) -> None:
    assert (load.busy, load.alone) == (busy, alone)
