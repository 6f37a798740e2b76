"""What is written without Arrow's library is what Arrow reads, whatever lies in the batch."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.errors import BadInput
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.arrow_write import encode_samples

_NAMES = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [("ts", pa.float64()), ("entity", _NAMES), ("signal", _NAMES), ("value", pa.float64())],
    metadata={"schema": "1"},
)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30)


@st.composite
def batches(draw: st.DrawFn) -> SampleBatch:
    """Few rows, and many that all look alike: buffers that shrink and buffers that do not."""
    count = draw(st.integers(1, 40)) * draw(st.sampled_from((1, 100)))
    entities, signals = (draw(st.lists(names, min_size=1, max_size=6)) for _ in range(2))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = chance.random(count) if draw(st.booleans()) else np.full(count, np.nan)
    return SampleBatch(
        chance.uniform(1.7e9, 1.8e9, count),
        chance.integers(0, len(entities), count).astype(np.int32),
        chance.integers(0, len(signals), count).astype(np.int32),
        values,
        tuple(entities),
        tuple(signals),
    )


def same(read: object, written: object) -> None:
    np.testing.assert_array_equal(np.asarray(read), np.asarray(written))


@given(batches())
@settings(max_examples=60, deadline=None)
def test_arrow_reads_every_column_and_finds_nothing_wrong(batch: SampleBatch) -> None:
    reader = pa.ipc.open_stream(encode_samples(batch))
    read = reader.read_next_batch()
    read.validate(full=True)
    entity, signal = read.column("entity"), read.column("signal")

    assert reader.schema.equals(SCHEMA, check_metadata=True)
    same(read.column("ts"), batch.time_s)
    same(read.column("value"), batch.value)
    same(entity.indices, batch.entity)
    same(signal.indices, batch.signal)
    assert tuple(entity.dictionary.to_pylist()) == batch.entities
    assert tuple(signal.dictionary.to_pylist()) == batch.signals
    with pytest.raises(StopIteration):
        reader.read_next_batch()


def test_the_schema_is_the_message_that_arrow_itself_writes() -> None:
    arrows = SCHEMA.serialize().to_pybytes()

    assert encode_samples(SampleBatch.from_rows([(1.0, "a", "x", 2.0)])).startswith(arrows)


@pytest.mark.parametrize("code", [-1, 1])
def test_a_code_that_names_nothing_is_refused(code: int) -> None:
    good = SampleBatch.from_rows([(1.0, "a", "x", 2.0)])
    codes = np.array([code], np.int32)
    for broken in (
        SampleBatch(good.time_s, codes, good.signal, good.value, ("a",), ("x",)),
        SampleBatch(good.time_s, good.entity, codes, good.value, ("a",), ("x",)),
    ):
        with pytest.raises(BadInput, match="names nothing"):
            encode_samples(broken)
