"""Killed anywhere on a real broker: the same as on the embedded log, for a few worlds.

The broker stamps records by its own clock, which no test can move: so these worlds have no silence.
"""

import random
import uuid

import pytest

from fleetmend.clock import ManualClock
from fleetmend.streams.kafka import KafkaLog
from tests.contract.streams.kill_anywhere import Told, live, same
from tests.unit.streams.toy import generate

pytestmark = pytest.mark.kafka

START_S = 1_700_000_000.0


def lived(bootstrap: str, seed: int, *, killed: bool) -> tuple[Told, list[str]]:
    log = KafkaLog(bootstrap, prefix=f"k{uuid.uuid4().hex[:10]}.", partitions=2, replication=1)
    try:
        feeds = generate(seed, start_s=START_S, moments=12, silence=False)
        rng = random.Random(seed) if killed else None
        return live(feeds, log, ManualClock(START_S), rng)
    finally:
        log.close()


@pytest.mark.parametrize("seed", range(4))
def test_a_killed_fold_says_what_an_uninterrupted_one_says(kafka_bootstrap: str, seed: int) -> None:
    want, _ = lived(kafka_bootstrap, seed, killed=False)
    got, deaths = lived(kafka_bootstrap, seed, killed=True)
    assert deaths
    assert want.confirmed
    assert same(want, got)
