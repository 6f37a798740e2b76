"""The calls of NVML for one board, by name, and the binding's errors as ours.

`collectors.nvml.library` makes them. Each gives rows under the names of `collectors.nvml.port`.
"""

from collections.abc import Callable, Sequence
from ctypes import sizeof
from functools import cache
from typing import Any

import numpy as np
import pynvml

from collectors.nvml import rates
from collectors.nvml.port import Answer, GpuProcess, NvmlError, NvmlFailure, Row

MIB = 1_048_576.0
TEXT_MAX = 96
FAILURES = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: NvmlFailure.NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: NvmlFailure.NOT_SUPPORTED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT: NvmlFailure.NOT_SUPPORTED,
    pynvml.NVML_ERROR_NO_PERMISSION: NvmlFailure.NO_PERMISSION,
    pynvml.NVML_ERROR_GPU_IS_LOST: NvmlFailure.GPU_IS_LOST,
    pynvml.NVML_ERROR_RESET_REQUIRED: NvmlFailure.RESET_REQUIRED,
    pynvml.NVML_ERROR_TIMEOUT: NvmlFailure.TIMEOUT,
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: NvmlFailure.LIBRARY_ABSENT,
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: NvmlFailure.DRIVER_ABSENT,
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: NvmlFailure.MISMATCH,
    pynvml.NVML_ERROR_NOT_FOUND: NvmlFailure.NO_GPU,
}
_ROW_FIELD = "nvml.field."
_VALUES = ("double", "uint", "ulong", "ulonglong", "longlong", "int", "ushort")
"""By nvmlValueType_t."""
_VALUE_AT = 32
_FIELD = np.dtype(
    {
        "names": ["id", "kind", "code", *_VALUES],
        "formats": ["<u4", "<u4", "<i4", "<f8", "<u4", "<u8", "<u8", "<i8", "<i4", "<u2"],
        "offsets": [0, 24, 28, *[_VALUE_AT] * len(_VALUES)],
        "itemsize": sizeof(pynvml.c_nvmlFieldValue_t),
    }
)
"""nvmlFieldValue_t: read in columns, since the binding's own structures cost a microsecond for each
member that is looked at."""


def asked(call: str, ask: Callable[[], Any]) -> Any:
    """The binding's answer, its error as ours."""
    try:
        return ask()
    except pynvml.NVMLError as error:
        code = getattr(error, "value", pynvml.NVML_ERROR_UNKNOWN)
        failure = FAILURES.get(code, NvmlFailure.FAILED)
        raise NvmlError(failure, call=call, text=str(error)[:TEXT_MAX]) from error
    except (OSError, AttributeError, ValueError, UnicodeDecodeError) as error:
        text = f"{type(error).__name__}: {error}"[:TEXT_MAX]
        raise NvmlError(NvmlFailure.FAILED, call=call, text=text) from error


def text_of(answer: str | bytes) -> str:
    text = answer.decode(errors="replace") if isinstance(answer, bytes) else answer
    return text[:TEXT_MAX]


def _fields(board: Any, ids: Sequence[int | tuple[int, int]]) -> Answer:
    rows, failed = [], {}
    told = pynvml.nvmlDeviceGetFieldValues(board, list(ids))
    columns = np.frombuffer(told, _FIELD)
    values = [columns[name].tolist() for name in _VALUES]
    numbers, kinds, codes = (columns[name].tolist() for name in ("id", "kind", "code"))
    for place, (number, kind, code) in enumerate(zip(numbers, kinds, codes, strict=True)):
        if code == pynvml.NVML_SUCCESS:
            rows.append(Row(_row_name(number), float(values[kind][place])))
        else:
            failed[f"field.{number}"] = FAILURES.get(code, NvmlFailure.FAILED)
    return Answer(tuple(rows), failed=failed)


@cache
def _row_name(number: int) -> str:
    return f"{_ROW_FIELD}{number}"


def _link_errors(board: Any) -> Answer:
    """Counters of all links added up: over the links that answer, and absent where none does."""
    ids = [(field, link) for field in rates.LINK_FIELDS for link in range(rates.LINKS_MAX)]
    told = _fields(board, ids)
    summed: dict[str, float] = {}
    for row in told.rows:
        summed[row.name] = summed.get(row.name, 0.0) + row.value
    failed = {name: reason for name, reason in told.failed.items() if f"nvml.{name}" not in summed}
    return Answer(tuple(Row(name, value) for name, value in summed.items()), failed=failed)


def _rows(**named: float) -> Answer:
    return Answer(tuple(Row(f"DCGM_FI_DEV_{name}", float(value)) for name, value in named.items()))


def _utilization(board: Any) -> Answer:
    told = pynvml.nvmlDeviceGetUtilizationRates(board)
    return _rows(GPU_UTIL=told.gpu, MEM_COPY_UTIL=told.memory)


def _processes(board: Any) -> Answer:
    found = {}
    for process in pynvml.nvmlDeviceGetComputeRunningProcesses(board):
        found[int(process.pid)] = float(process.usedGpuMemory or 0)
    return Answer(processes=tuple(GpuProcess(pid, held) for pid, held in sorted(found.items())))


def _limits(board: Any) -> Answer:
    """The temperatures that the driver acts at, those of them that this GPU has."""
    rows, failed = [], {}
    for name, which in _LIMITS.items():
        try:
            told = pynvml.nvmlDeviceGetTemperatureThreshold(board, which)
            rows.append(Row(f"DCGM_FI_DEV_{name}", float(told)))
        except pynvml.NVMLError as error:
            failed[name.lower()] = FAILURES.get(getattr(error, "value", 0), NvmlFailure.FAILED)
    return Answer(tuple(rows), failed=failed)


_LIMITS = {
    "SLOWDOWN_TEMP": pynvml.NVML_TEMPERATURE_THRESHOLD_SLOWDOWN,
    "SHUTDOWN_TEMP": pynvml.NVML_TEMPERATURE_THRESHOLD_SHUTDOWN,
    "GPU_MAX_OP_TEMP": pynvml.NVML_TEMPERATURE_THRESHOLD_GPU_MAX,
    "MEM_MAX_OP_TEMP": pynvml.NVML_TEMPERATURE_THRESHOLD_MEM_MAX,
}
CALLS: dict[str, Callable[[Any], Answer]] = {
    "fast_fields": lambda b: _fields(b, rates.FAST_FIELDS),
    "utilization": _utilization,
    "clock_sm": lambda b: _rows(SM_CLOCK=pynvml.nvmlDeviceGetClockInfo(b, pynvml.NVML_CLOCK_SM)),
    "clock_memory": lambda b: _rows(
        MEM_CLOCK=pynvml.nvmlDeviceGetClockInfo(b, pynvml.NVML_CLOCK_MEM)
    ),
    "temperature": lambda b: _rows(
        GPU_TEMP=pynvml.nvmlDeviceGetTemperature(b, pynvml.NVML_TEMPERATURE_GPU)
    ),
    "clock_event_reasons": lambda b: _rows(
        CLOCKS_EVENT_REASONS=pynvml.nvmlDeviceGetCurrentClocksEventReasons(b)
    ),
    "performance_state": lambda b: _rows(PSTATE=pynvml.nvmlDeviceGetPerformanceState(b)),
    "slow_fields": lambda b: _fields(b, rates.SLOW_FIELDS),
    "energy": lambda b: _fields(b, rates.ENERGY_FIELDS),
    "throttle_times": lambda b: _fields(b, rates.THROTTLE_FIELDS),
    "pcie_errors": lambda b: _fields(b, rates.PCIE_ERROR_FIELDS),
    "link_totals": lambda b: _fields(b, [(f, rates.ALL_LINKS) for f in rates.LINK_TOTALS]),
    "link_errors": _link_errors,
    "pcie_link": lambda b: _rows(
        PCIE_LINK_GEN=pynvml.nvmlDeviceGetCurrPcieLinkGeneration(b),
        PCIE_LINK_WIDTH=pynvml.nvmlDeviceGetCurrPcieLinkWidth(b),
    ),
    "encoder": lambda b: _rows(ENC_UTIL=pynvml.nvmlDeviceGetEncoderUtilization(b)[0]),
    "decoder": lambda b: _rows(DEC_UTIL=pynvml.nvmlDeviceGetDecoderUtilization(b)[0]),
    "temperature_limits": _limits,
    "pcie_link_max": lambda b: _rows(
        PCIE_MAX_LINK_GEN=pynvml.nvmlDeviceGetMaxPcieLinkGeneration(b),
        PCIE_MAX_LINK_WIDTH=pynvml.nvmlDeviceGetMaxPcieLinkWidth(b),
    ),
    "remap_histogram": lambda b: _rows(
        BANKS_REMAP_ROWS_AVAIL_NONE=pynvml.nvmlDeviceGetRowRemapperHistogram(b).none
    ),
    "processes": _processes,
}
