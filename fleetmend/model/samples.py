"""Samples: numbers with a time, an entity and a canonical signal, in columns.

A batch is what one collector saw in one stretch. On the wire it is one Arrow IPC record batch
(`ts`, `entity`, `signal`, `value`; names dictionary-encoded, lz4); inside it is numpy. Never one
record per sample: a batch costs two orders of magnitude less.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SampleBatch:
    """`n` samples in columns; codes point into `entities` and `signals`."""

    time_s: NDArray[np.float64]
    """Shape (n,), event time in Unix seconds."""
    entity: NDArray[np.int32]
    """Shape (n,), codes into `entities`."""
    signal: NDArray[np.int32]
    """Shape (n,), codes into `signals`."""
    value: NDArray[np.float64]
    """Shape (n,), in the unit that the signal catalogue names."""
    entities: tuple[str, ...]
    signals: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.time_s)

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[float, str, str, float]]) -> Self:
        """Columns from (time_s, entity, signal, value) rows; for the edges and tests, not hot
        paths."""
        times: list[float] = []
        values: list[float] = []
        entity_codes: list[int] = []
        signal_codes: list[int] = []
        entities: dict[str, int] = {}
        signals: dict[str, int] = {}
        for time_s, entity, signal, value in rows:
            times.append(time_s)
            values.append(value)
            entity_codes.append(entities.setdefault(entity, len(entities)))
            signal_codes.append(signals.setdefault(signal, len(signals)))
        return cls(
            np.array(times, np.float64),
            np.array(entity_codes, np.int32),
            np.array(signal_codes, np.int32),
            np.array(values, np.float64),
            tuple(entities),
            tuple(signals),
        )

    def select(self, mask: NDArray[np.bool_]) -> "SampleBatch":
        """The samples for which `mask` (shape (n,)) is true; the dictionaries stay."""
        return SampleBatch(
            self.time_s[mask],
            self.entity[mask],
            self.signal[mask],
            self.value[mask],
            self.entities,
            self.signals,
        )
