"""Several runners of one fold on the embedded log: what holds by claims does not hold without."""

import random

import pytest

from fleetmend.clock import ManualClock
from fleetmend.streams.sqlite import SqliteLog
from tests.contract.streams.kill_anywhere import Told, told
from tests.contract.streams.two_runners import Crowd, agree, contested, said_again
from tests.unit.streams.toy import generate

START_S = 1_800_000_000.0


def crowded(seed: int, *, claiming: bool = True) -> tuple[Told, Told, Crowd]:
    """What a crowd said, what one alone says of the same log, and the crowd."""
    clock = ManualClock(START_S)
    log = SqliteLog(":memory:", clock=clock, partitions=2)
    try:
        feeds = generate(seed, start_s=START_S)
        crowd = contested(feeds, log, clock, random.Random(seed), claiming=claiming)
        return told(log), said_again(log, partitions=2), crowd
    finally:
        log.close()


@pytest.mark.parametrize("block", range(6))
def test_a_crowd_says_what_one_alone_says(block: int) -> None:
    fenced = 0
    for seed in range(block * 10, block * 10 + 10):
        got, want, crowd = crowded(seed)
        fenced += crowd.fenced
        assert want.confirmed, seed
        assert agree(got, want), seed
    assert fenced > 10


def test_without_claims_it_does_not_hold() -> None:
    """The mutation: else the test above would prove less than it says."""
    differ = 0
    for seed in range(12):
        got, want, _ = crowded(seed, claiming=False)
        differ += not agree(got, want)
    assert differ >= 3
