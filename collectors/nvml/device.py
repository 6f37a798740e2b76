"""The rounds of one GPU: which calls are due, what they gave, which ones it does not know.

`collectors.nvml.collector` runs `round` of every GPU under a deadline, in the watch's thread.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from collectors.nvml.port import (
    LASTING,
    Gpu,
    GpuProcess,
    GpuReader,
    NvmlError,
    NvmlFailure,
    Row,
)
from collectors.nvml.rates import CALLS, Rate

_FATAL = frozenset({NvmlFailure.GPU_IS_LOST, NvmlFailure.RESET_REQUIRED})
"""After these no other call of the GPU will do better: the rest of the round is left out."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round of one GPU gave."""

    rows: tuple[Row, ...]
    processes: tuple[GpuProcess, ...]
    """As they were when they were last asked for."""
    failed: Mapping[str, NvmlFailure]
    """Calls that should have given something and did not."""
    unknown: tuple[str, ...]
    """Calls and parts that this GPU turned out not to have, told once."""
    fatal: NvmlFailure | None = None
    """The GPU is gone or waits for a reset."""


class GpuRounds:
    """What is remembered of one GPU between rounds."""

    def __init__(self, gpu: Gpu, *, periods_s: Mapping[Rate, float]) -> None:
        self.gpu = gpu
        self._periods_s = periods_s
        self._due_s = dict.fromkeys(Rate, float("-inf"))
        self._unknown: set[str] = set()
        self.processes: tuple[GpuProcess, ...] = ()
        """Who held memory when that was last asked."""

    def forget(self, gpu: Gpu) -> None:
        """A new inventory: ask again for what was not known."""
        self.gpu = gpu
        self._unknown.clear()

    def round(self, reader: GpuReader, now_s: float) -> Round:
        """Make every call that is due at `now_s` (monotonic). Raises nothing: what fails is named
        and leaves the others be."""
        rows: list[Row] = []
        failed: dict[str, NvmlFailure] = {}
        unknown: list[str] = []
        fatal = None
        for name in self._due(now_s):
            try:
                answer = reader.call(self.gpu, name)
            except NvmlError as error:
                if error.failure in LASTING:
                    self._unknown.add(name)
                    unknown.append(name)
                    continue
                failed[name] = error.failure
                if error.failure in _FATAL:
                    fatal = error.failure
                    break
                continue
            rows += answer.rows
            if name == "processes":
                self.processes = answer.processes
            for part, failure in answer.failed.items():
                if part in self._unknown:
                    continue
                if failure in LASTING:
                    self._unknown.add(part)
                    unknown.append(part)
                else:
                    failed[part] = failure
        return Round(tuple(rows), self.processes, failed, tuple(unknown), fatal)

    def _due(self, now_s: float) -> list[str]:
        names: list[str] = []
        for rate, period_s in self._periods_s.items():
            # A little early counts: else a round that began late puts the slow ones off by one.
            if rate is Rate.FAST or now_s - self._due_s[rate] >= -0.05 * period_s:
                self._due_s[rate] = now_s + period_s
                names += CALLS[rate]
        return [name for name in names if name not in self._unknown]
