"""A batch that would be huge is refused by its headers, before a byte of it is decompressed."""

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.errors import BadInput
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.arrow_bounds import check_decoded
from fleetmend.streams.arrow_write import encode_samples
from fleetmend.streams.bounds import ROWS_MAX
from fleetmend.streams.codec import decode
from fleetmend.streams.columns import DECODED_BYTES_MAX, decode_samples
from fleetmend.streams.port import RawRecord
from fleetmend.streams.topics import Topic

NAMES = pa.dictionary(pa.int32(), pa.string())
SCHEMA = pa.schema(
    [("ts", pa.float64()), ("entity", NAMES), ("signal", NAMES), ("value", pa.float64())]
)


def stream(rows: int, *, name: str = "a", compression: str | None = "zstd") -> bytes:
    """A batch of `rows` equal samples: almost nothing once compressed."""
    codes = pa.array(np.zeros(rows, np.int32))
    named = pa.DictionaryArray.from_arrays(codes, pa.array([name]))
    zeros = pa.array(np.zeros(rows))
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression=compression)
    with pa.ipc.new_stream(sink, SCHEMA, options=options) as writer:
        writer.write_batch(pa.record_batch([zeros, named, named, zeros], schema=SCHEMA))
    return bytes(sink.getvalue())


@pytest.fixture
def unopened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding anything fails the test."""

    def opened(*_: Any, **__: Any) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr(pa.ipc, "open_stream", opened)


@pytest.mark.usefixtures("unopened")
@pytest.mark.parametrize(
    ("bomb", "said"),
    [
        (stream(4 * ROWS_MAX), "4000000 rows"),
        (stream(1, name="a" * (DECODED_BYTES_MAX + 1)), "once decoded"),
    ],
    ids=["rows", "dictionary"],
)
def test_a_bomb_is_refused_before_it_is_decompressed(bomb: bytes, said: str) -> None:
    assert len(bomb) < 100_000
    with pytest.raises(BadInput, match=said):
        decode_samples(bomb)


@pytest.mark.usefixtures("unopened")
def test_what_a_buffer_claims_counts_not_what_it_holds() -> None:
    """Arrow would allocate what the first 8 bytes of the buffer say."""
    honest = stream(ROWS_MAX)
    lie = honest.replace(struct.pack("<q", 8 * ROWS_MAX), struct.pack("<q", 2**40))
    assert lie != honest

    with pytest.raises(BadInput, match="once decoded"):
        decode_samples(lie)


def test_the_record_becomes_a_dead_letter_that_names_its_place() -> None:
    raw = RawRecord(Topic.SAMPLES, 2, 7, "", {"kind": "SampleBatch"}, stream(4 * ROWS_MAX), 0.0)

    with pytest.raises(BadInput, match="samples/2 offset 7"):
        decode(raw)


@pytest.mark.parametrize("compression", ["zstd", "lz4", None])
def test_the_largest_batch_that_may_be_is_read(compression: str | None) -> None:
    assert len(decode_samples(stream(ROWS_MAX, compression=compression))) == ROWS_MAX


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_damaged_headers_are_bad_input_and_nothing_else(data: st.DataObject) -> None:
    good = encode_samples(SampleBatch.from_rows([(1.0, "a", "x", 1.0), (2.0, "b", "x", 1.0)]))
    damaged = bytearray(good)
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(good) - 1))
        damaged[place] = data.draw(st.integers(0, 255))
    with suppress(BadInput, pa.ArrowException, OSError):
        check_decoded(bytes(damaged), bytes_max=DECODED_BYTES_MAX, rows_max=ROWS_MAX)
