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
    fatal: NvmlFailure | None = None
    """The GPU is gone or waits for a reset."""


class GpuRounds:
    """What is remembered of one GPU between rounds."""

    def __init__(self, gpu: Gpu, *, periods_s: Mapping[Rate, float]) -> None:
        self.gpu = gpu
        self._periods_s = periods_s
        self._due_s = dict.fromkeys(Rate, float("-inf"))
        self._lacking: dict[str, tuple[str, ...]] = {}
        """By call what of it this GPU did not have when it was last asked: itself, or parts."""
        self._skipped: set[str] = set()
        """Calls that are not made before the next inventory."""
        self.processes: tuple[GpuProcess, ...] = ()
        """Who held memory when that was last asked."""
        self.lacking: tuple[str, ...] = ()
        """Calls and parts that this GPU does not have, as far as it was asked."""

    def forget(self, gpu: Gpu) -> None:
        """A new inventory: ask again for what was not known. Until it is asked it stays so."""
        self.gpu = gpu
        self._skipped.clear()

    def round(self, reader: GpuReader, now_s: float) -> Round:
        """Make every call that is due at `now_s` (monotonic). Raises nothing: what fails is named
        and leaves the others be."""
        rows: list[Row] = []
        failed: dict[str, NvmlFailure] = {}
        fatal = None
        for name in self._due(now_s):
            try:
                answer = reader.call(self.gpu, name)
            except NvmlError as error:
                if error.failure in LASTING:
                    self._skipped.add(name)
                    self._lacking[name] = (name,)
                    continue
                failed[name] = error.failure
                if error.failure in _FATAL:
                    fatal = error.failure
                    break
                continue
            rows += answer.rows
            if name == "processes":
                self.processes = answer.processes
            if answer.failed or name in self._lacking:
                self._note(name, answer.failed, failed)
        self.lacking = tuple(part for parts in self._lacking.values() for part in parts)
        return Round(tuple(rows), self.processes, failed, fatal)

    def _note(
        self, name: str, told: Mapping[str, NvmlFailure], failed: dict[str, NvmlFailure]
    ) -> None:
        """What of a call that answered is not there, and what should be: the latter to `failed`."""
        failed |= {part: why for part, why in told.items() if why not in LASTING}
        lacking = tuple(part for part, why in told.items() if why in LASTING)
        if lacking:
            self._lacking[name] = lacking
        else:
            self._lacking.pop(name, None)

    def _due(self, now_s: float) -> list[str]:
        # A little early counts: else a round that began late puts the slow ones off by one.
        early_s = 0.5 * self._periods_s[Rate.FAST]
        names: list[str] = []
        for rate, period_s in self._periods_s.items():
            if rate is Rate.FAST or now_s - self._due_s[rate] >= -early_s:
                self._due_s[rate] = now_s + period_s
                names += CALLS[rate]
        return [name for name in names if name not in self._skipped]
