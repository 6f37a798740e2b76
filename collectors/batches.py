"""Putting sample batches together: called by `collectors.replay` and the scraper."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from fleetmend.model.samples import SampleBatch


def merge_batches(batches: Sequence[SampleBatch]) -> SampleBatch:
    """One batch with the samples of all, in order, over one dictionary of names."""
    if len(batches) == 1:
        return batches[0]
    entities: dict[str, int] = {}
    signals: dict[str, int] = {}
    entity_codes: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    signal_codes: list[NDArray[np.int32]] = [np.empty(0, np.int32)]
    for batch in batches:
        entity_codes.append(_recode(batch.entity, batch.entities, entities))
        signal_codes.append(_recode(batch.signal, batch.signals, signals))
    return SampleBatch(
        np.concatenate([np.empty(0, np.float64), *(batch.time_s for batch in batches)]),
        np.concatenate(entity_codes),
        np.concatenate(signal_codes),
        np.concatenate([np.empty(0, np.float64), *(batch.value for batch in batches)]),
        tuple(entities),
        tuple(signals),
    )


class Joiner:
    """Joins two batches over and over whose names hardly ever change."""

    def __init__(self) -> None:
        self._names: tuple[tuple[str, ...], ...] = ()
        self._then: SampleBatch | None = None
        self._joined: SampleBatch | None = None
        self._first = 0

    def join(self, first: SampleBatch, then: SampleBatch) -> SampleBatch:
        """The samples of both, in order, over one dictionary of names; the names of the first are
        different from each other."""
        names = (first.entities, first.signals, then.entities, then.signals)
        last, before = self._joined, self._then
        if (
            last is None
            or before is None
            or names != self._names
            or not np.array_equal(before.entity, then.entity)
            or not np.array_equal(before.signal, then.signal)
        ):
            last = self._joined = merge_batches([first, then])
            self._names, self._then, self._first = names, then, len(first)
            return last
        return SampleBatch(
            np.concatenate([first.time_s, then.time_s]),
            np.concatenate([first.entity, last.entity[self._first :]]),
            np.concatenate([first.signal, last.signal[self._first :]]),
            np.concatenate([first.value, then.value]),
            last.entities,
            last.signals,
        )


def _recode(
    codes: NDArray[np.int32], names: tuple[str, ...], known: dict[str, int]
) -> NDArray[np.int32]:
    """Codes into `names` as codes into `known`, which grows."""
    table = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
    return table[codes] if len(codes) else codes
