"""A clock and a log in memory for the tests of what stands between the rooms and the log."""

from collections.abc import Iterator

import pytest

from fleetmend.clock import ManualClock
from fleetmend.streams.sqlite import SqliteLog

START_S = 1_800_000_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(START_S)


@pytest.fixture
def log(clock: ManualClock) -> Iterator[SqliteLog]:
    log = SqliteLog(":memory:", clock=clock, partitions=1)
    yield log
    log.close()
