"""The samples of the last minutes, kept as they lie in the log.

Charts of an incident need a few signals of a few entities: a batch is decoded once when it arrives
(`fresh`), and once more only when somebody asks for what came before (`tracks`). Keeping the
compressed batches costs a few bytes a sample, whatever the fleet's size. Used by the evidence
charts and the fleet map.
"""

import math
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fleetmend.errors import BadInput, OffsetsLost
from fleetmend.model.entities import EntityId
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.codec import TIME_HEADER, decode
from fleetmend.streams.port import Log, RawRecord, TopicPartition
from fleetmend.streams.split import without_future
from fleetmend.streams.topics import Topic

Track = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Times (Unix seconds, rising) and values of one signal of one entity."""

FUTURE_S = 60.0
"""How far ahead of the log's own clock a sample may be: as far as the folds believe by default."""
BYTES_MAX = 256 * 2**20
"""Compressed bytes kept at most. 256 MiB: ten minutes of a hundred thousand samples a second."""


@dataclass(frozen=True, slots=True)
class _Kept:
    time_s: float
    """The newest event time inside, but never more than the log's own clock allows."""
    record: RawRecord


class RecentSamples:
    """Follows the `samples` topic from its end, or from where `rewind` says."""

    def __init__(
        self,
        log: Log,
        *,
        keep_s: float,
        future_s: float = FUTURE_S,
        bytes_max: int = BYTES_MAX,
        read_limit: int = 500,
    ) -> None:
        """Keeps what the log took within `keep_s` and at most `bytes_max` of it, the newest."""
        self._log = log
        self.keep_s = keep_s
        self._future_s = future_s
        self._bytes_max = bytes_max
        self._read_limit = read_limit
        self._positions: dict[TopicPartition, int] = {
            partition: log.end(partition) for partition in log.partitions(Topic.SAMPLES)
        }
        self._kept: deque[_Kept] = deque()
        self._bytes = 0
        self._arrived: list[_Kept] = []
        self._newest_s = -math.inf
        self._append_s = -math.inf

    @property
    def newest_s(self) -> float:
        """The newest event time seen."""
        return self._newest_s

    def oldest(self) -> dict[str, int]:
        """Where to begin again to know what is known now: `topic/partition` -> offset."""
        first: dict[str, int] = {str(place): offset for place, offset in self._positions.items()}
        for kept in reversed(self._kept):
            place = TopicPartition(kept.record.topic, kept.record.partition)
            first[str(place)] = kept.record.offset
        return first

    def rewind(self, places: Mapping[str, int]) -> None:
        """Go on from these offsets, as `oldest` gave them, as far as the log still has them."""
        for place in self._positions:
            if str(place) in places:
                wanted = max(places[str(place)], self._log.begin(place))
                self._positions[place] = min(wanted, self._log.end(place))

    def step(self) -> int:
        """Take in what is new; the number of records. Raises StreamError."""
        self._arrived = []
        try:
            records = self._log.read(self._positions, limit=self._read_limit)
        except OffsetsLost:
            # Retention has passed us while we stood still: what is gone cannot be shown.
            self.rewind({str(place): 0 for place in self._positions})
            return 0
        for record in records:
            self._positions[TopicPartition(record.topic, record.partition)] = record.offset + 1
            self._append_s = max(self._append_s, record.append_s)
            time_s = _time_of(record)
            if time_s is None:
                continue
            time_s = min(time_s, record.append_s + self._future_s)
            self._newest_s = max(self._newest_s, time_s)
            self._arrived.append(_Kept(time_s, record))
            self._bytes += len(record.value)
        self._kept.extend(self._arrived)
        self._forget()
        return len(records)

    def fresh(self) -> Iterator[SampleBatch]:
        """What the last step took in, decoded."""
        return self._decoded(self._arrived)

    def tracks(
        self, entities: Collection[EntityId], signals: Collection[str], *, since_s: float
    ) -> dict[tuple[EntityId, str], Track]:
        """Every wanted (entity, signal) that was heard since then, in order of time."""
        times: dict[tuple[EntityId, str], list[NDArray[np.float64]]] = {}
        values: dict[tuple[EntityId, str], list[NDArray[np.float64]]] = {}
        held = list(self._kept)  # copied at once: another thread may be taking in
        for batch in self._decoded([kept for kept in held if kept.time_s >= since_s]):
            for key, rows in wanted_rows(batch, entities, signals):
                times.setdefault(key, []).append(batch.time_s[rows])
                values.setdefault(key, []).append(batch.value[rows])
        tracks = {}
        for key, pieces in times.items():
            time_s, value = np.concatenate(pieces), np.concatenate(values[key])
            order = np.argsort(time_s, kind="stable")
            inside = order[np.searchsorted(time_s[order], since_s) :]
            tracks[key] = (time_s[inside], value[inside])
        return tracks

    def _decoded(self, chosen: list[_Kept]) -> Iterator[SampleBatch]:
        for kept in chosen:
            try:
                payload = decode(kept.record).payload
            except BadInput:
                continue  # the fold has kept it as a dead letter already
            # Clocks of collectors are believed no further than the folds believe them.
            known, _ = without_future(payload, kept.record.append_s + self._future_s)
            if isinstance(known, SampleBatch):
                yield known

    def _forget(self) -> None:
        # By the log's clock, not by the samples': no collector's clock can drop another's.
        while self._kept and (
            self._bytes > self._bytes_max
            or self._kept[0].record.append_s < self._append_s - self.keep_s
        ):
            self._bytes -= len(self._kept.popleft().record.value)


def wanted_rows(
    batch: SampleBatch, entities: Collection[EntityId], signals: Collection[str]
) -> Iterator[tuple[tuple[EntityId, str], NDArray[np.intp]]]:
    """The rows (shape (k,), indices into the batch) of each wanted (entity, signal) in it."""
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


def _time_of(record: RawRecord) -> float | None:
    """The newest event time of a batch of samples; None for what is none or does not say it."""
    if record.headers.get("kind") != SampleBatch.__name__:
        return None
    try:
        time_s = float(record.headers.get(TIME_HEADER, ""))
    except ValueError:
        return None
    return time_s if math.isfinite(time_s) else None
