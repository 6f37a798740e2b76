"""Parting records by event time: what lies in the future, and which tick takes which samples.

Pure; called by `fleetmend.streams.merge` and `fleetmend.streams.runner`.
"""

import numpy as np

from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import tick_of
from fleetmend.streams.codec import newest_s
from fleetmend.streams.port import Payload, Record


def without_future(payload: Payload, horizon_s: float) -> tuple[Payload | None, int]:
    """The payload without what is newer than `horizon_s`, and how much that was (samples, or 1).

    A merged batch holds the samples of many nodes: one wrong clock must not cost the others theirs.
    """
    if newest_s(payload) <= horizon_s:
        return payload, 0
    if not isinstance(payload, SampleBatch):
        return None, 1
    known = payload.time_s <= horizon_s
    kept = int(np.count_nonzero(known))
    return (payload.select(known) if kept else None), len(payload) - kept


def by_tick(record: Record, period_s: float, *, first: int | None) -> list[tuple[int, Record]]:
    """The record's parts by tick, in order of tick; a part of one tick only is the record itself.

    Samples of ticks before `first` stay one part under the tick before it: nobody will fold them
    apart, and a batch of old samples cannot make thousands of parts.
    """
    payload = record.payload
    if not isinstance(payload, SampleBatch):
        tick = tick_of(newest_s(payload), period_s)
        return [(tick, record)]
    # The same division and rounding as in `tick_of`, for all samples at once.
    ticks = np.floor(payload.time_s / period_s).astype(np.int64)
    if first is not None:
        ticks = np.maximum(ticks, first - 1)
    low, high = int(ticks.min()), int(ticks.max())
    if low == high:
        return [(low, record)]
    if np.any(ticks[1:] < ticks[:-1]):
        order = np.argsort(ticks, kind="stable")
        ticks, payload = ticks[order], _rows(payload, order)
    edges = np.flatnonzero(ticks[1:] != ticks[:-1]) + 1
    starts, ends = [0, *edges.tolist()], [*edges.tolist(), len(ticks)]
    return [
        (
            int(ticks[start]),
            Record(
                record.topic, record.partition, record.offset, _rows(payload, slice(start, end))
            ),
        )
        for start, end in zip(starts, ends, strict=True)
    ]


def _rows(
    batch: SampleBatch, chosen: "np.ndarray[tuple[int], np.dtype[np.intp]] | slice"
) -> SampleBatch:
    """Some rows of a batch; a slice shares memory with it."""
    return SampleBatch(
        batch.time_s[chosen],
        batch.entity[chosen],
        batch.signal[chosen],
        batch.value[chosen],
        batch.entities,
        batch.signals,
    )
