"""The samples of the last minutes, kept as they lie in the log and decoded only when asked for.

Charts of an incident need a few signals of a few entities; keeping the compressed batches costs a
few bytes a sample, whatever the fleet's size. Used by the evidence charts and the fleet map.
"""

from collections import deque
from collections.abc import Collection, Iterator

import numpy as np
from numpy.typing import NDArray

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.codec import TIME_HEADER, decode
from fleetmend.streams.port import Log, RawRecord, TopicPartition
from fleetmend.streams.topics import Topic

Track = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times (Unix seconds, rising) and values of one signal of one entity."""


class RecentSamples:
    """Follows the end of the `samples` topic. What came before the start is not shown."""

    def __init__(self, log: Log, *, keep_s: float, read_limit: int = 500) -> None:
        self._log = log
        self._keep_s = keep_s
        self._read_limit = read_limit
        self._positions: dict[TopicPartition, int] = {
            partition: log.end(partition) for partition in log.partitions(Topic.SAMPLES)
        }
        self._records: deque[tuple[float, RawRecord]] = deque()
        self._newest_s = float("-inf")

    @property
    def newest_s(self) -> float:
        """The newest event time seen."""
        return self._newest_s

    def step(self) -> int:
        """Take in what is new; the number of records. Raises StreamError."""
        records = self._log.read(self._positions, limit=self._read_limit)
        for record in records:
            partition = TopicPartition(record.topic, record.partition)
            self._positions[partition] = record.offset + 1
            if record.headers.get("kind") != SampleBatch.__name__:
                continue
            time_s = float(record.headers[TIME_HEADER])
            self._newest_s = max(self._newest_s, time_s)
            self._records.append((time_s, record))
        while self._records and self._records[0][0] < self._newest_s - self._keep_s:
            self._records.popleft()
        return len(records)

    def tracks(
        self, entities: Collection[EntityId], signals: Collection[str], *, since_s: float
    ) -> dict[tuple[EntityId, str], Track]:
        """Every wanted (entity, signal) that was heard since then, in order of time."""
        times: dict[tuple[EntityId, str], list[NDArray[np.float64]]] = {}
        values: dict[tuple[EntityId, str], list[NDArray[np.float64]]] = {}
        for batch in self._batches(since_s):
            for key, rows in _wanted(batch, entities, signals):
                times.setdefault(key, []).append(batch.time_s[rows])
                values.setdefault(key, []).append(batch.value[rows])
        tracks = {}
        for key, pieces in times.items():
            time_s, value = np.concatenate(pieces), np.concatenate(values[key])
            order = np.argsort(time_s, kind="stable")
            tracks[key] = (time_s[order], value[order])
        return tracks

    def _batches(self, since_s: float) -> Iterator[SampleBatch]:
        for time_s, record in list(self._records):
            if time_s < since_s:
                continue
            try:
                payload = decode(record).payload
            except BadInput:
                continue  # the fold has kept it as a dead letter already
            if isinstance(payload, SampleBatch):
                yield payload


def _wanted(
    batch: SampleBatch, entities: Collection[EntityId], signals: Collection[str]
) -> Iterator[tuple[tuple[EntityId, str], NDArray[np.intp]]]:
    entity_codes = {c: e for c, e in enumerate(batch.entities) if e in entities}
    signal_codes = {c: s for c, s in enumerate(batch.signals) if s in signals}
    if not entity_codes or not signal_codes:
        return
    mask = np.isin(batch.entity, list(entity_codes)) & np.isin(batch.signal, list(signal_codes))
    rows = np.flatnonzero(mask)
    pairs = batch.entity[rows].astype(np.int64) * len(batch.signals) + batch.signal[rows]
    for pair in np.unique(pairs):
        entity = EntityId(entity_codes[int(pair) // len(batch.signals)])
        signal = signal_codes[int(pair) % len(batch.signals)]
        yield (entity, signal), rows[pairs == pair]
