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


def _recode(
    codes: NDArray[np.int32], names: tuple[str, ...], known: dict[str, int]
) -> NDArray[np.int32]:
    """Codes into `names` as codes into `known`, which grows."""
    table = np.array([known.setdefault(name, len(known)) for name in names], np.int32)
    return table[codes] if len(codes) else codes
