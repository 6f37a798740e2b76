"""Killed anywhere on the embedded log: 200 worlds, each with several deaths."""

import random
from collections import Counter

import pytest

from fleetmend.clock import ManualClock
from fleetmend.streams.sqlite import SqliteLog
from tests.contract.streams.kill_anywhere import Told, live, same
from tests.unit.streams.toy import generate

START_S = 1_800_000_000.0


def lived(seed: int, *, killed: bool, keep_cuts: bool = True) -> tuple[Told, list[str]]:
    clock = ManualClock(START_S)
    log = SqliteLog(":memory:", clock=clock, partitions=2)
    try:
        rng = random.Random(seed) if killed else None
        return live(generate(seed, start_s=START_S), log, clock, rng, keep_cuts=keep_cuts)
    finally:
        log.close()


@pytest.mark.parametrize("block", range(20))
def test_a_killed_fold_says_what_an_uninterrupted_one_says(block: int) -> None:
    for seed in range(block * 10, block * 10 + 10):
        want, _ = lived(seed, killed=False)
        got, deaths = lived(seed, killed=True)
        assert deaths, seed
        assert want.confirmed, seed
        assert same(want, got), seed


def test_it_dies_in_every_kind_of_place() -> None:
    """Else the test above would prove less than it says."""
    places = Counter(place for seed in range(25) for place in lived(seed, killed=True)[1])
    assert places.keys() >= {
        "before Cut",
        "after Cut",
        "before Finding",
        "within Finding",
        "after Finding",
        "before Mark",
        "after Mark",
        "before snapshot",
        "after snapshot",
        "before read",
    }


def test_the_worlds_have_everything_in_them() -> None:
    told = [lived(seed, killed=False)[0] for seed in range(10)]
    details = [finding.detail for one in told for finding in one.confirmed]
    assert any("late 0" not in detail for detail in details)
    assert any(cut.idle for one in told for cut in one.cuts)
    assert any(len(cut.idle) == 4 for one in told for cut in one.cuts), "all silent"
    assert any(
        b - a > 100 for one in told for a, b in zip(one.marked, one.marked[1:], strict=False)
    )
    assert all(one.provisional for one in told)


def test_without_cuts_in_the_log_it_does_not_hold() -> None:
    """The mutation: a runner that decides again after each death says something else."""
    differ = 0
    for seed in range(12):
        want, _ = lived(seed, killed=False)
        got, _ = lived(seed, killed=True, keep_cuts=False)
        differ += not same(want, got)
    assert differ >= 3
