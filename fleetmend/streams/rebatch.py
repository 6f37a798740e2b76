"""Joining small sample batches into large ones, and cutting what is too large for one record.

Small Arrow batches cost the decoder an order of magnitude more a sample. Pure; called by
`fleetmend.streams.producer`.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from fleetmend.errors import BadInput
from fleetmend.model.samples import SampleBatch

ROWS_MAX = 100_000
"""Rows of one record: 24 bytes each even when nothing compresses, so it always fits."""


def check(batch: SampleBatch) -> None:
    """Refuse a batch whose columns do not fit together. Raises BadInput."""
    columns = (batch.time_s, batch.entity, batch.signal, batch.value)
    if len({len(column) for column in columns}) != 1:
        raise BadInput("the columns of a sample batch differ in length")
    for codes, names in ((batch.entity, batch.entities), (batch.signal, batch.signals)):
        if len(codes) and (int(codes.min()) < 0 or int(codes.max()) >= len(names)):
            raise BadInput("a sample batch has codes outside its dictionary")


def joined(batches: Sequence[SampleBatch]) -> SampleBatch:
    """One batch with the rows of all, in order; names that several use are kept once."""
    if len(batches) == 1:
        return batches[0]
    entities: dict[str, int] = {}
    signals: dict[str, int] = {}
    entity = [_codes(entities, batch.entities)[batch.entity] for batch in batches]
    signal = [_codes(signals, batch.signals)[batch.signal] for batch in batches]
    return SampleBatch(
        np.concatenate([batch.time_s for batch in batches]),
        np.concatenate(entity),
        np.concatenate(signal),
        np.concatenate([batch.value for batch in batches]),
        tuple(entities),
        tuple(signals),
    )


def pieces(batch: SampleBatch, rows_max: int = ROWS_MAX) -> Iterator[SampleBatch]:
    """The batch in pieces of at most `rows_max` rows."""
    for start in range(0, len(batch), rows_max):
        rows = slice(start, start + rows_max)
        yield SampleBatch(
            batch.time_s[rows],
            batch.entity[rows],
            batch.signal[rows],
            batch.value[rows],
            batch.entities,
            batch.signals,
        )


def _codes(
    known: dict[str, int], names: tuple[str, ...]
) -> np.ndarray[tuple[int], np.dtype[np.int32]]:
    """The code of each of `names` in the common dictionary, which grows."""
    return np.array([known.setdefault(name, len(known)) for name in names], np.int32)
