"""Memory that only grows: sample by sample, by enough, and not because more work is in hand.

`engine.memory_allocated` is the honest signal; where no engine tells it, the GPU's memory in use is
watched for longer and believed less, since allocators keep what they once had. Fails for leaks
below `leak_bytes` in the window, which the exhaustion forecast of a longer history has to find.
"""

from dataclasses import dataclass

import numpy as np

from detection.base import Opinion
from detection.blocks import Block
from detection.frame import Frame
from detection.robust import Floats
from detection.saved import join, part
from detection.streaks import Flags, Streaks
from detection.symptoms import moved
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State

_RISING = 0.8
"""Share of steps that must go up; none may fall by more than a quarter of the whole growth."""
_LOAD_GROWTH = 0.5
"""Growth of running requests over the window, as a share of its start, that explains more
memory."""
_KV_GROWTH = 0.1
_ROUNDED = 1e-6
"""Share of a value that keeping it in float32 may cost, with room to spare."""
_LONGER = 5
"""How much longer the GPU's memory is watched than the engine's own figure."""


@dataclass(frozen=True, slots=True)
class _Watched:
    kind: EntityKind
    signal: str
    times_longer: int
    confidence: float


_WATCHED = (
    _Watched(EntityKind.ENGINE, "engine.memory_allocated", 1, 0.8),
    _Watched(EntityKind.GPU, "gpu.memory_used", _LONGER, 0.5),
)


class Leak:
    """Monotone growth of memory."""

    name = "leak"

    def __init__(self, settings: DetectionSettings) -> None:
        self._samples, self._bytes = settings.leak_samples, settings.leak_bytes
        self._streaks = {w.signal: Streaks(need=2, of=3) for w in _WATCHED}

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each engine or GPU whose memory leaks."""
        opinions: list[Opinion] = []
        for watched in _WATCHED:
            block = frame.blocks.get(watched.kind)
            if block is None or watched.signal not in block.column:
                continue
            ticks = self._samples * watched.times_longer
            now = block.now(watched.signal)
            grows = self._grows(block, watched.signal, ticks) & ~_explained(frame, block, ticks)
            if watched.kind is EntityKind.GPU:
                grows &= _serving_untold(frame, block)
            holds = self._streaks[watched.signal].feed(block, grows, np.isfinite(now))
            for row in np.flatnonzero(holds):
                since = self._streaks[watched.signal].since(block, int(row))
                onset_s = frame.seconds(since - round(_RISING * ticks))
                opinions.append(
                    Opinion(
                        detector=self.name,
                        entity=block.entities[row],
                        key=watched.signal,
                        reason="monotone_growth",
                        witness=Witness.TELEMETRY,
                        confidence=watched.confidence,
                        symptoms=(
                            moved(frame, block, int(row), watched.signal, Direction.UP, onset_s),
                        ),
                        onset_s=onset_s,
                    )
                )
        return opinions

    def _grows(self, block: Block, signal: str, ticks: int) -> Flags:
        """Whether the last `ticks` values rise nearly always and by enough; gaps of single ticks
        are bridged."""
        span = ticks + ticks // 4
        grows = np.zeros(block.shape[0], bool)
        # What was told at the beginning tells most rows apart at once; the ring keeps float32.
        before, now = block.recent_at(signal, span - 1), block.known(signal)
        maybe = np.flatnonzero(~(now - before < self._bytes - _ROUNDED * np.abs(now)))
        if not len(maybe):
            return grows
        history = block.recent(signal, span, maybe)
        filled = _carried(history)
        steps = np.diff(filled, axis=0)
        told = np.isfinite(history[1:]) & np.isfinite(steps)
        count = told.sum(axis=0)
        rising = ((steps > 0) & told).sum(axis=0)
        growth = np.where(told, steps, 0.0).sum(axis=0)
        deepest = -np.where(told, np.minimum(steps, 0.0), 0.0).min(axis=0)
        steady = (count >= ticks) & (rising >= _RISING * np.maximum(count, 1))
        grows[maybe] = steady & (growth >= self._bytes) & (deepest <= growth / 4)
        return grows

    def snapshot(self) -> State:
        """The looks remembered."""
        return join({signal: streaks.snapshot() for signal, streaks in self._streaks.items()})

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        for signal, streaks in self._streaks.items():
            streaks.restore(part(state, signal))


def _carried(history: Floats) -> Floats:
    """Each gap filled with the last value before it."""
    filled = history.copy()
    for step in range(1, len(filled)):
        filled[step] = np.where(np.isnan(filled[step]), filled[step - 1], filled[step])
    return filled


def _explained(frame: Frame, block: Block, ticks: int) -> Flags:
    """Rows whose load grew as well."""
    if block.name != EntityKind.ENGINE.value:
        return np.zeros(block.shape[0], bool)
    running, kv = (
        _carried(block.recent(s, ticks)) for s in ("engine.requests_running", "engine.kv_usage")
    )
    more = running[-1] - running[0] > _LOAD_GROWTH * np.maximum(running[0], 1.0)
    explained: Flags = more & (np.nan_to_num(kv[-1] - kv[0]) > _KV_GROWTH)
    return explained


def _serving_untold(frame: Frame, gpu: Block) -> Flags:
    """GPUs whose engine serves (one that loads its model grows lawfully) and does not tell itself
    what it has allocated."""
    engine = frame.blocks.get(EntityKind.ENGINE)
    if engine is None:
        return np.zeros(gpu.shape[0], bool)
    pairs = frame.links.engine_gpu
    tokens = pairs.total(np.nan_to_num(engine.known("engine.generation_tokens")), gpu.shape[0])
    told = pairs.total(engine.known("engine.memory_allocated"), gpu.shape[0])
    serving: Flags = (np.nan_to_num(tokens) > 0) & np.isnan(told)
    return serving
