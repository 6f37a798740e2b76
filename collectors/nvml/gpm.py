"""GPM: profiling figures that lie between two samples of one GPU or MIG instance.

`collectors.nvml.library` keeps one `GpmSamples` for each. Two stretches run over the same samples:
the cheap metrics between each sample and the one before it, the dear ones between the newest sample
and the newest of the last time that they were asked for.
"""

from collections.abc import Callable, Sequence
from ctypes import sizeof
from typing import Any

import numpy as np
import pynvml

from collectors.nvml import rates
from collectors.nvml.calls import FAILURES, asked
from collectors.nvml.port import Answer, NvmlFailure, Row

_METRIC = np.dtype(
    {
        "names": ["code", "value"],
        "formats": ["<i4", "<f8"],
        "offsets": [4, 8],
        "itemsize": sizeof(pynvml.c_nvmlGpmMetric_t),
    }
)
"""nvmlGpmMetric_t."""


class GpmMetrics:
    """One set of metrics, worked out by the driver from two samples."""

    def __init__(self, metrics: Sequence[int]) -> None:
        self._metrics = tuple(metrics)
        self._names = [f"nvml.gpm.{metric}" for metric in metrics]
        self._asked = pynvml.c_nvmlGpmMetricsGet_t()
        self._asked.version = pynvml.NVML_GPM_METRICS_GET_VERSION
        self._asked.numMetrics = len(metrics)
        for place, metric in enumerate(metrics):
            self._asked.metrics[place].metricId = metric
        self._told = np.frombuffer(self._asked.metrics, _METRIC, len(metrics))
        """What the driver fills in, as columns."""

    def between(self, older: Any, newer: Any, instance: int | None) -> Answer:
        """The figures of the time between two samples. Raises NvmlError."""
        self._asked.sample1, self._asked.sample2 = older, newer
        asked("gpm", lambda: pynvml.nvmlGpmMetricsGet(self._asked))
        rows: list[Row] = []
        failed: dict[str, NvmlFailure] = {}
        codes, values = self._told["code"].tolist(), self._told["value"].tolist()
        for place, (code, value) in enumerate(zip(codes, values, strict=True)):
            if code == pynvml.NVML_SUCCESS:
                rows.append(Row(self._names[place], value, instance))
            else:
                failed[f"gpm.{self._metrics[place]}"] = FAILURES.get(code, NvmlFailure.FAILED)
        return Answer(tuple(rows), failed=failed)


class GpmSamples:
    """The samples of one GPU or instance: the newest, the one at which the dear metrics' stretch
    began, and one to be filled next."""

    def __init__(self, instance: int | None) -> None:
        """Raises NvmlError where the driver has none to give."""
        self._instance = instance
        # Of its own: a call that hangs must not write into what another GPU's call gives.
        self._cheap = GpmMetrics(rates.GPM_METRICS)
        self._dear = GpmMetrics(rates.GPM_DEAR_METRICS)
        self._all = [asked("gpm", pynvml.nvmlGpmSampleAlloc) for _ in range(3)]
        self._newest: Any = None
        self._began: Any = None

    def sample(self, take: Callable[[Any], object]) -> Answer:
        """A new sample by `take`, and what lies between it and the last one; nothing at first.
        Raises NvmlError; then the last sample stays the newest."""
        into = next(s for s in self._all if s is not self._newest and s is not self._began)
        asked("gpm", lambda: take(into))
        older, self._newest = self._newest, into
        return Answer() if older is None else self._cheap.between(older, into, self._instance)

    def since(self) -> Answer:
        """The dear metrics from the newest sample of the last time to the newest one now; nothing
        at first, or when there was none since. Raises NvmlError."""
        older, self._began = self._began, self._newest
        if older is None or older is self._newest:
            return Answer()
        return self._dear.between(older, self._newest, self._instance)
