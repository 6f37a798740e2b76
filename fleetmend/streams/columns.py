"""Sample batches read from the wire: one Arrow IPC stream with one record batch, lz4 inside.

Columns `ts` (float64), `entity` and `signal` (dictionary of strings), `value` (float64; NaN and
infinities are values like any other), as `fleetmend.streams.arrow_write` writes them. Called by
`fleetmend.streams.codec` alone. Rows are never turned into Python objects: that would cost two
orders of magnitude.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fleetmend.errors import BadInput
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.arrow_bounds import check_decoded
from fleetmend.streams.arrow_write import check_times
from fleetmend.streams.bounds import NAME_CHARS_MAX, NAMES_MAX, ROWS_MAX

DECODED_BYTES_MAX = 64 * 1024 * 1024
"""Bytes of a whole batch once decoded: `ROWS_MAX` rows of 24 bytes, and their names. A bomb stops
here, before it is decompressed."""

_COLUMNS = frozenset(("ts", "entity", "signal", "value"))
# Arrow's own thread pool costs more than it brings at this size: measured 3 times slower.
_READ = pa.ipc.IpcReadOptions(use_threads=False)


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
    check_times(time_s)
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
