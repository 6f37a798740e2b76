"""Sample batches to bytes, without Arrow's library: one Arrow IPC stream with one record batch, lz4
inside, as `fleetmend.streams.columns` reads it.

A node agent only writes samples, and the library would be a third of its memory. A stream of our
one schema always has the same metadata but for lengths: it is kept here as Arrow's own writer made
it, and the lengths are filled in. A test reads what comes out with Arrow, and compares the metadata
with what Arrow writes. Called by `fleetmend.streams.codec` alone.
"""

import struct
from collections.abc import Sequence

import lz4.frame
import numpy as np
from numpy.typing import NDArray

from fleetmend.errors import BadInput
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.bounds import NAME_CHARS_MAX, ROWS_MAX, TIME_S_MAX

_SCHEMA = bytes.fromhex(
    """
    140000000000000000000a000e000600050008000a000000000104001000000000000a000c000000040008000a000000
    3800000004000000010000000c00000008000c0004000800080000001000000004000000010000003100000006000000
    736368656d61000004000000040100009c00000034000000040000001cffffff00000103100000001800000004000000
    000000000500000076616c75650000000effffff00000200acffffff0000010514000000440000002000000004000000
    00000000060000007369676e616c000008001400080004000800000010000000010000000000000000000000a8ffffff
    0000000120000000a0ffffff100018000800060007000c00100014001000000000000105140000004400000020000000
    040000000000000006000000656e7469747900000800080000000400080000000c00000008000c000800070008000000
    00000001200000000400040004000000100014000800060007000c00000010001000000000000103100000001c000000
    0400000000000000020000007473000000000600080006000600000000000200
    """
)
"""Columns `ts` (float64), `entity` and `signal` (int32 codes into strings), `value` (float64); the
metadata says schema 1."""
_DICTIONARY = bytes.fromhex(
    """
    14000000000000000c0014000600050008000c000c000000000204001400000038000000000000000800140008000400
    080000001c0000000100000000000000000000000c001c001000040008000c000c000000580000001c00000014000000
    010000000000000000000000040004000400000003000000000000000000000000000000000000000000000000000000
    1f0000000000000020000000000000001800000000000000000000000100000001000000000000000000000000000000
    """
)
"""Of a batch of names: which dictionary, how many, and where offsets and text lie."""
_BATCH = bytes.fromhex(
    """
    14000000000000000c0018000600050008000c000c000000000304001c000000f000000000000000000000000c001c00
    1000040008000c000c000000a80000001c00000014000000070000000000000000000000040004000400000008000000
    0000000000000000000000000000000000000000000000004f0000000000000050000000000000000000000000000000
    500000000000000028000000000000007800000000000000000000000000000078000000000000002200000000000000
    a0000000000000000000000000000000a0000000000000004f0000000000000000000000040000000700000000000000
    000000000000000007000000000000000000000000000000070000000000000000000000000000000700000000000000
    0000000000000000
    """
)
"""Of the batch of rows: how many, and where each column lies."""
_BODY_AT = 32
"""Where the length of the body stands in either (int64, as all lengths)."""
_DICTIONARY_ID_AT, _NAMES_AT, _NAME_BUFFERS_AT = 56, (96, 176), 120
_ROWS_AT, _COLUMN_BUFFERS_AT = (72, 232, 248, 264, 280), 96
"""Where numbers of rows stand, and the first buffer; a buffer is its offset and its length."""
_LONG = struct.Struct("<q")
_BUFFER = struct.Struct("<qq")
_FRAME = struct.Struct("<Ii")
_CONTINUES = 0xFFFFFFFF
_END = _FRAME.pack(_CONTINUES, 0)
_PLAIN = _LONG.pack(-1)
"""Instead of a length: the buffer is not compressed."""


def encode_samples(batch: SampleBatch) -> bytes:
    """The batch as bytes. Raises BadInput for an empty or inconsistent batch or times that are
    none."""
    rows = len(batch.time_s)
    check_times(batch.time_s)
    try:
        columns = (
            np.ascontiguousarray(batch.time_s, np.float64),
            _codes(batch.entity, batch.entities),
            _codes(batch.signal, batch.signals),
            np.ascontiguousarray(batch.value, np.float64),
        )
        if any(column.shape != (rows,) for column in columns):
            raise BadInput("sample batch is inconsistent: columns of several lengths")
        return b"".join(
            (
                _message(_SCHEMA, b""),
                _names(0, batch.entities),
                _names(1, batch.signals),
                _rows(rows, columns),
                _END,
            )
        )
    except (TypeError, ValueError) as error:
        raise BadInput(f"sample batch is inconsistent: {error}") from error


def check_times(time_s: NDArray[np.float64]) -> None:
    """Refuse what no tick can hold. A NaN fails the comparison, as it should."""
    if not 0 < len(time_s) <= ROWS_MAX:
        raise BadInput(f"{len(time_s)} rows", fix=f"Expected 1 to {ROWS_MAX}.")
    if not (float(np.min(time_s)) >= -TIME_S_MAX and float(np.max(time_s)) <= TIME_S_MAX):
        raise BadInput("a sample's time is no Unix time in seconds")


def _codes(codes: NDArray[np.int32], names: Sequence[str]) -> NDArray[np.int32]:
    """Codes that all lie inside their dictionary: others would be read as memory behind it."""
    plain = np.ascontiguousarray(codes, np.int32)
    if len(plain) and not (int(plain.min()) >= 0 and int(plain.max()) < len(names)):
        raise BadInput("a code names nothing")
    return plain


def _names(number: int, names: Sequence[str]) -> bytes:
    """A dictionary."""
    if any(not 0 < len(name) <= NAME_CHARS_MAX for name in names):
        raise BadInput("empty or overlong name", fix=f"1 to {NAME_CHARS_MAX} characters.")
    texts = [name.encode() for name in names]
    ends = np.zeros(len(texts) + 1, np.int32)
    np.cumsum([len(text) for text in texts], out=ends[1:])
    head = bytearray(_DICTIONARY)
    _LONG.pack_into(head, _DICTIONARY_ID_AT, number)
    for place in _NAMES_AT:
        _LONG.pack_into(head, place, len(texts))
    body = _body(head, _NAME_BUFFERS_AT, (b"", ends.tobytes(), b"".join(texts)))
    return _message(head, body)


def _rows(count: int, columns: Sequence[NDArray[np.float64] | NDArray[np.int32]]) -> bytes:
    """The record batch. No column has nulls, so the buffers that would name them are empty."""
    head = bytearray(_BATCH)
    for place in _ROWS_AT:
        _LONG.pack_into(head, place, count)
    buffers = [part for column in columns for part in (b"", column.tobytes())]
    return _message(head, _body(head, _COLUMN_BUFFERS_AT, buffers))


def _body(head: bytearray, places_at: int, buffers: Sequence[bytes]) -> bytes:
    """The buffers, compressed; where they lie is written into the head."""
    parts: list[bytes] = []
    at = 0
    for number, plain in enumerate(buffers):
        packed = _packed(plain) if plain else b""
        _BUFFER.pack_into(head, places_at + number * _BUFFER.size, at, len(packed))
        parts.append(packed + bytes(-len(packed) % 8))
        at += len(parts[-1])
    _LONG.pack_into(head, _BODY_AT, at)
    return b"".join(parts)


def _packed(plain: bytes) -> bytes:
    """A buffer with its length before it; as it is where packing would only add to it."""
    small: bytes = lz4.frame.compress(plain, store_size=False)
    return _LONG.pack(len(plain)) + small if len(small) < len(plain) else _PLAIN + plain


def _message(head: bytes | bytearray, body: bytes) -> bytes:
    return _FRAME.pack(_CONTINUES, len(head)) + head + body
