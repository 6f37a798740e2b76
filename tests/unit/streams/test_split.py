"""Parting by tick loses no sample and moves none."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark, tick_of
from fleetmend.streams.port import Record
from fleetmend.streams.split import by_tick, without_future
from fleetmend.streams.topics import Topic
from tests.unit.streams.payloads import GPU

times = st.lists(st.floats(0, 20), min_size=1, max_size=60)


def record(times_s: list[float]) -> Record:
    rows = [(t, f"e{n % 3}", f"s{n % 2}", float(n)) for n, t in enumerate(times_s)]
    return Record(Topic.SAMPLES, 1, 7, SampleBatch.from_rows(rows))


def rows(batch: SampleBatch) -> list[tuple[float, str, str, float]]:
    return [
        (t, batch.entities[e], batch.signals[s], v)
        for t, e, s, v in zip(
            batch.time_s.tolist(), batch.entity, batch.signal, batch.value.tolist(), strict=True
        )
    ]


@given(times, st.sampled_from([0.1, 0.25, 1.0, 3.0]))
@settings(max_examples=100, deadline=None)
def test_every_sample_lies_in_its_tick_once(times_s: list[float], period_s: float) -> None:
    whole = record(times_s)
    assert isinstance(whole.payload, SampleBatch)
    parts = by_tick(whole, period_s, first=None)
    found = []
    for tick, part in parts:
        assert (part.topic, part.partition, part.offset) == (Topic.SAMPLES, 1, 7)
        assert isinstance(part.payload, SampleBatch)
        assert all(tick_of(t, period_s) == tick for t in part.payload.time_s.tolist())
        found.extend(rows(part.payload))
    assert [tick for tick, _ in parts] == sorted({tick_of(t, period_s) for t in times_s})
    assert sorted(found) == sorted(rows(whole.payload))


@given(times, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_what_is_older_than_the_first_tick_stays_together(times_s: list[float], first: int) -> None:
    parts = dict(by_tick(record(times_s), 1.0, first=first))
    assert all(tick >= first - 1 for tick in parts)
    old = parts.get(first - 1)
    count = sum(t < first for t in times_s)
    assert (0 if old is None or not isinstance(old.payload, SampleBatch) else len(old.payload)) == (
        count
    )


def test_a_batch_of_one_tick_is_not_copied() -> None:
    whole = record([3.1, 3.9, 3.5])
    assert by_tick(whole, 1.0, first=None) == [(3, whole)]


def test_the_order_within_a_tick_is_kept() -> None:
    parts = by_tick(record([5.2, 4.0, 5.1, 4.9, 5.0]), 1.0, first=None)
    kept = [p.payload.time_s.tolist() for _, p in parts if isinstance(p.payload, SampleBatch)]
    assert kept == [[4.0, 4.9], [5.2, 5.1, 5.0]]


@given(times, st.floats(0, 20))
@settings(max_examples=60, deadline=None)
def test_only_what_lies_in_the_future_is_taken_away(times_s: list[float], horizon_s: float) -> None:
    whole = record(times_s).payload
    kept, removed = without_future(whole, horizon_s)
    left = [] if not isinstance(kept, SampleBatch) else kept.time_s.tolist()
    assert left == [t for t in times_s if t <= horizon_s]
    assert removed == len(times_s) - len(left)


def test_a_record_without_rows_is_kept_or_taken_whole() -> None:
    event = Event("1", "s", EventType.CHANGE, 10.0, GPU)
    assert without_future(event, 10.0) == (event, 0)
    assert without_future(event, 9.9) == (None, 1)
    assert without_future(Mark("p", 10.0), 9.9) == (None, 1)


def test_parts_of_a_sorted_batch_share_its_memory() -> None:
    whole = record([1.0, 1.5, 2.0])
    assert isinstance(whole.payload, SampleBatch)
    for _, part in by_tick(whole, 1.0, first=None):
        assert isinstance(part.payload, SampleBatch)
        assert np.shares_memory(part.payload.value, whole.payload.value)
