"""Ticks: the steps in which every stage folds its inputs.

Tick k covers the event times [k * period, (k + 1) * period). A stage's fold closes tick k when
every
live input partition has passed its end by the allowed lateness, or counts as idle. The decision is
itself a record, written before the stage computes: it names how far each partition had been read.
So the log says exactly what was folded when, and a replay after a crash repeats it.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cut:
    """Tick `tick` of fold `fold` closed here: what was read up to these offsets belongs to it or
    earlier."""

    fold: str
    tick: int
    positions: dict[str, int]
    """`topic/partition` -> first offset not read yet when the tick closed."""
    reached_s: float
    """The event time reached: the newest watermark when the tick closed. Outputs carry it as their
    time."""
    idle: tuple[str, ...] = ()
    """Partitions that were not waited for."""
    runner: str = ""
    """Who made it; void when it lies behind another runner's claim. Empty where nobody claims."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Fold `fold` is carried on by `runner` from here on: cuts of any other that lie behind this
    record are void."""

    fold: str
    runner: str
    at_s: float
    """When it was made, by the runner's clock: for people."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A watermark on a topic partition: its producer will send nothing older than `at_s` any
    more."""

    producer: str
    at_s: float
    tick: int = -1
    """For a stage's output: the tick that is complete with this mark; -1 for collectors."""


def tick_of(time_s: float, period_s: float) -> int:
    """The tick that covers `time_s`."""
    return math.floor(time_s / period_s)
