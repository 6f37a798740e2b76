"""Sample batches on the wire: one Arrow IPC stream with one record batch, lz4 inside.

Columns `ts` (float64), `entity` and `signal` (dictionary of strings), `value` (float64; NaN and
infinities are values like any other). Called by `fleetmend.streams.codec` alone. Rows are never
turned into Python objects: that would cost two orders of magnitude.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetmend.errors import BadInput
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.arrow_bounds import check_decoded

ROWS_MAX = 1_000_000
"""Rows in one batch."""
NAMES_MAX = 100_000
"""Entities, or signals, that one batch names."""
DECODED_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of a whole batch once decoded: `ROWS_MAX` rows of 24 bytes, and their names. A bomb stops
here, before it is decompressed."""
NAME_CHARS_MAX = 512
"""Characters in an entity id or a signal name."""
TIME_S_MAX = 5e10
"""Event times beyond this (year 3554, either way) are milliseconds taken for seconds, or noise."""

_NAMES = pa.dictionary(pa.int32(), pa.string())
_SCHEMA = pa.schema(
    [("ts", pa.float64()), ("entity", _NAMES), ("signal", _NAMES), ("value", pa.float64())],
    metadata={"schema": "1"},
)
_COLUMNS = frozenset(_SCHEMA.names)
# Arrow's own thread pool costs more than it brings at this size: measured 3 times slower.
_WRITE = pa.ipc.IpcWriteOptions(compression="lz4", use_threads=False)
_READ = pa.ipc.IpcReadOptions(use_threads=False)


def encode_samples(batch: SampleBatch) -> bytes:
    """The batch as bytes. Raises BadInput for an empty or inconsistent batch or times that are
    none."""
    _check_times(batch.time_s)
    try:
        table = pa.record_batch(
            [
                pa.array(np.ascontiguousarray(batch.time_s, np.float64)),
                _named(batch.entity, batch.entities),
                _named(batch.signal, batch.signals),
                pa.array(np.ascontiguousarray(batch.value, np.float64)),
            ],
            schema=_SCHEMA,
        )
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, _SCHEMA, options=_WRITE) as writer:
            writer.write_batch(table)
        return bytes(sink.getvalue())
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise BadInput(f"sample batch is inconsistent: {error}") from error


def decode_samples(value: bytes) -> SampleBatch:
    """The batch in `value`; its arrays are read-only views of Arrow's memory where types allow.

    Accepts what another producer may write: any integer width of codes, plain string columns,
    float32 values, sliced buffers, nulls in `value` (they become NaN). Raises BadInput for
    anything else.
    """
    try:
        check_decoded(value, bytes_max=DECODED_BYTES_MAX, rows_max=ROWS_MAX)
        batch = _single_batch(value)
        time_s = _floats(batch, "ts")
        entity, entities = _codes(batch, "entity")
        signal, signals = _codes(batch, "signal")
        values = _floats(batch, "value")
    except (pa.ArrowException, OSError, UnicodeDecodeError, StopIteration) as error:
        raise BadInput(f"not a sample batch: {error}") from error
    _check_times(time_s)
    return SampleBatch(time_s, entity, signal, values, entities, signals)


def _single_batch(value: bytes) -> Any:
    """The only record batch of the stream, with every index and string checked by Arrow."""
    reader = pa.ipc.open_stream(pa.py_buffer(value), options=_READ)
    names = reader.schema.names
    if len(names) != len(_COLUMNS) or set(names) != _COLUMNS:
        raise BadInput(f"columns are {names[:8]}", fix=f"Expected {sorted(_COLUMNS)}.")
    batch = reader.read_next_batch()
    if batch.num_rows > ROWS_MAX:
        raise BadInput(f"{batch.num_rows} rows", fix=f"At most {ROWS_MAX}.")
    # Codes outside the dictionary or broken offsets would otherwise be read as memory.
    batch.validate(full=True)
    try:
        reader.read_next_batch()
    except StopIteration:
        return batch
    raise BadInput("more than one record batch")


def _floats(batch: Any, name: str) -> NDArray[np.float64]:
    column = batch.column(name)
    if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
        raise BadInput(f"column {name} is {column.type}", fix="Expected float64.")
    if name == "ts" and column.null_count:
        raise BadInput("nulls in ts")
    if column.type != pa.float64():
        column = column.cast(pa.float64(), safe=False)
    # Nulls become NaN; without nulls this is a view.
    return np.asarray(column.to_numpy(zero_copy_only=False), np.float64)


def _codes(batch: Any, name: str) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    column = batch.column(name)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = column.dictionary_encode()
    if not pa.types.is_dictionary(column.type):
        raise BadInput(f"column {name} is {column.type}", fix="Expected a dictionary of strings.")
    names = column.dictionary
    if not (pa.types.is_string(names.type) or pa.types.is_large_string(names.type)):
        raise BadInput(f"column {name} is {column.type}", fix="Expected a dictionary of strings.")
    if column.null_count or names.null_count:
        raise BadInput(f"nulls in {name}")
    if len(names) > NAMES_MAX:
        raise BadInput(f"{len(names)} names in {name}", fix=f"At most {NAMES_MAX}.")
    # The dictionary is short (entities, signals), so Python strings cost little here.
    words = tuple(names.to_pylist())
    if any(not 0 < len(word) <= NAME_CHARS_MAX for word in words):
        raise BadInput(f"empty or overlong name in {name}", fix=f"At most {NAME_CHARS_MAX}.")
    return np.asarray(column.indices.to_numpy(zero_copy_only=False), np.int32), words


def _named(codes: NDArray[np.int32], names: tuple[str, ...]) -> Any:
    if any(not 0 < len(name) <= NAME_CHARS_MAX for name in names):
        raise BadInput("empty or overlong name", fix=f"1 to {NAME_CHARS_MAX} characters.")
    indices = pa.array(np.ascontiguousarray(codes, np.int32))
    # `safe` checks that every code lies inside the dictionary.
    return pa.DictionaryArray.from_arrays(indices, pa.array(names, pa.string()), safe=True)


def _check_times(time_s: NDArray[np.float64]) -> None:
    """Refuse what no tick can hold. A NaN fails the comparison, as it should."""
    if not 0 < len(time_s) <= ROWS_MAX:
        raise BadInput(f"{len(time_s)} rows", fix=f"Expected 1 to {ROWS_MAX}.")
    if not (float(np.min(time_s)) >= -TIME_S_MAX and float(np.max(time_s)) <= TIME_S_MAX):
        raise BadInput("a sample's time is no Unix time in seconds")
