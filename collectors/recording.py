"""The files of a recording, read and checked: `collectors.replay` plays what is loaded here.

Three files are opened, by name: `meta.json`, `metrics.parquet`, `logs.jsonl`. The truth that may
lie beside them (`labels.jsonl`) is never touched. Unknown keys and columns are passed over, so that
recordings of other makers can be played; what cannot be understood is BadInput with file and line
or row.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from collectors.series import SeriesTable
from fleetmend.errors import BadInput

META, METRICS, LOGS = "meta.json", "metrics.parquet", "logs.jsonl"
_COLUMNS = ("ts", "metric", "labels", "value")


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)


class GpuMeta(_Part):
    """One GPU of a host."""

    index: int
    uuid: str = ""
    model: str = ""
    power_limit_w: float | None = None
    pci: str = ""


class HostMeta(_Part):
    """One host."""

    name: str
    gpus: tuple[GpuMeta, ...] = ()


class EngineMeta(_Part):
    """One engine: where it runs, and on which GPUs (by UUID, `gpu:<i>` or `<host>/gpu:<i>`)."""

    name: str
    host: str = ""
    gpus: tuple[str, ...] = ()
    kind: str = ""
    model: str = ""


class LinkMeta(_Part):
    """A link between GPUs."""

    kind: str = ""
    width: str = ""
    ends: tuple[str, ...] = ()


class Meta(_Part):
    """`meta.json`."""

    name: str = ""
    start: float | None = Field(default=None, allow_inf_nan=False)
    hosts: tuple[HostMeta, ...] = ()
    engines: tuple[EngineMeta, ...] = ()
    links: tuple[LinkMeta, ...] = ()


class LogRow(_Part):
    """One line of `logs.jsonl`."""

    ts: float = Field(allow_inf_nan=False)
    line: str
    host: str = ""
    channel: str = ""
    engine: str = ""


@dataclass(frozen=True, slots=True)
class Metrics:
    """`metrics.parquet` in time order."""

    table: SeriesTable
    time_s: NDArray[np.float64]
    """Shape (n,), rising."""
    series: NDArray[np.int32]
    """Shape (n,), numbers in `table`."""
    value: NDArray[np.float64]
    """Shape (n,); NaN where the file has no value."""


def load_meta(folder: Path) -> Meta:
    """Read `meta.json`. Raises BadInput."""
    path = folder / META
    try:
        return Meta.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from error
    except ValidationError as error:
        raise BadInput(_first(error), where=str(path)) from error


def load_logs(folder: Path) -> list[LogRow]:
    """Read `logs.jsonl`, in the order of the file; no file means no logs. Raises BadInput."""
    path = folder / LOGS
    rows: list[LogRow] = []
    try:
        # Only \n ends a line: a log line may hold any other separator.
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return rows
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from error
    for number, line in enumerate(lines, 1):
        if line.strip():
            try:
                rows.append(LogRow.model_validate_json(line))
            except ValidationError as error:
                raise BadInput(_first(error), where=f"{path} line {number}") from error
    return rows


def load_metrics(folder: Path) -> Metrics:
    """Read `metrics.parquet`. Raises BadInput."""
    path = folder / METRICS
    try:
        # ParquetFile, not read_table: a folder name like `run=3` must not become a column.
        with pq.ParquetFile(path) as file:
            missing = [name for name in _COLUMNS if name not in file.schema_arrow.names]
            if missing:
                raise BadInput(f"no column {', '.join(missing)}", where=str(path))
            rows = file.read(columns=list(_COLUMNS)).combine_chunks()
        time_s = _floats(rows.column("ts"))
        value = _floats(rows.column("value"))
        metric_code, metrics = _encoded(rows.column("metric"))
        label_code, labels = _encoded(_as_text(rows.column("labels")))
    except (pa.ArrowException, OSError, EOFError, ValueError, TypeError) as error:
        raise BadInput(str(error).split("\n")[0], where=str(path)) from error
    _check_rows(path, time_s, metric_code)
    table = SeriesTable()
    pairs, series = np.unique(metric_code * max(1, len(labels)) + label_code, return_inverse=True)
    first_row = {int(code): row for row, code in reversed(list(enumerate(label_code.tolist())))}
    parsed = [
        _labels(text, f"{path} row {first_row.get(code, 0) + 1}")
        for code, text in enumerate(labels)
    ]
    for pair in pairs.tolist():
        metric, label = divmod(pair, max(1, len(labels)))
        table.add(metrics[metric], parsed[label])
    order = np.argsort(time_s, kind="stable")
    return Metrics(table, time_s[order], series.astype(np.int32)[order], value[order])


def _check_rows(path: Path, time_s: NDArray[np.float64], metric_code: NDArray[np.int64]) -> None:
    for bad, what in ((~np.isfinite(time_s), "no time"), (metric_code < 0, "no metric name")):
        if bad.any():
            raise BadInput(what, where=f"{path} row {int(np.argmax(bad)) + 1}")


def _floats(column: Any) -> NDArray[np.float64]:
    """A numeric or time column as seconds or plain floats; nulls become NaN."""
    if pa.types.is_timestamp(column.type):
        micros = pc.cast(pc.cast(column, pa.timestamp("us"), safe=False), pa.int64())
        return np.asarray(pc.divide(pc.cast(micros, pa.float64()), 1e6).to_numpy(), np.float64)
    return np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), np.float64)


def _encoded(column: Any) -> tuple[NDArray[np.int64], list[str]]:
    """Codes and the texts they point to; nulls have the code -1."""
    if not pa.types.is_dictionary(column.type):
        column = pc.cast(column, pa.string()).dictionary_encode()
    encoded = column.unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):  # no chunk, or several of one dictionary
        chunks = encoded.chunks
        codes = [np.asarray(pc.fill_null(c.indices, -1).to_numpy(), np.int64) for c in chunks]
        texts = chunks[0].dictionary.to_pylist() if chunks else []
        return np.concatenate([np.empty(0, np.int64), *codes]), texts
    return np.asarray(pc.fill_null(encoded.indices, -1), np.int64), encoded.dictionary.to_pylist()


def _as_text(column: Any) -> Any:
    """Labels as JSON texts, also when the file keeps them as a struct or map; null is `{}`."""
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column if column.null_count == 0 else pc.fill_null(pc.cast(column, kind), "{}")
    texts = [
        json.dumps({k: v for k, v in dict(labels or {}).items() if v is not None}, sort_keys=True)
        for labels in column.to_pylist()
    ]
    return pa.chunked_array([pa.array(texts, pa.string())])


def _labels(text: str, where: str) -> Mapping[str, str]:
    try:
        labels = json.loads(text)
    except ValueError as error:
        raise BadInput(f"labels are no JSON: {error}", where=where) from error
    if not isinstance(labels, dict):
        raise BadInput("labels are no JSON object", where=where)
    return {name: "" if value is None else str(value) for name, value in labels.items()}


def _first(error: ValidationError) -> str:
    """The first complaint, in short."""
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place}: {first['msg']}" if place else str(first["msg"])
