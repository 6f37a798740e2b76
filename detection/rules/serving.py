"""What an engine says of itself that needs no past: KV cache full, first tokens too late, health
requests failing.
"""

import numpy as np

from detection.blocks import Block
from detection.frame import Frame
from detection.rules.standing import Standing
from detection.streaks import Flags
from detection.symptoms import moved, present
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings

_PREEMPTED_TICKS = 10
_KV_HIGH = 0.8
_KV_FULL = 0.95
_UNAVAILABLE = 500.0


class KvPressure(Standing):
    """The KV cache is full: requests are put out of the batch, or wait while it is."""

    kind = EntityKind.ENGINE
    key = "kv_pressure"
    signals = ("engine.kv_usage",)

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """High with preemptions lately, or full with a queue."""
        usage = block.now("engine.kv_usage")
        preempted = np.nan_to_num(block.mean("engine.preemptions", _PREEMPTED_TICKS)) > 0
        waiting = np.nan_to_num(block.known("engine.requests_waiting")) >= 1
        high = np.nan_to_num(usage) >= _KV_HIGH
        full = np.nan_to_num(usage) >= _KV_FULL
        return (high & preempted) | (full & waiting), np.isfinite(usage)

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """Usage, preemptions and the queue, as far as they are there."""
        found = [moved(frame, block, row, "engine.kv_usage", Direction.UP, onset_s)]
        if np.nan_to_num(block.mean("engine.preemptions", _PREEMPTED_TICKS)[row]) > 0:
            found.append(moved(frame, block, row, "engine.preemptions", Direction.UP, onset_s))
        if np.nan_to_num(block.known("engine.requests_waiting")[row]) >= 1:
            found.append(moved(frame, block, row, "engine.requests_waiting", Direction.UP, onset_s))
        return tuple(found)


class SlowFirstToken(Standing):
    """The median time to first token is harm whatever was normal before: for faults that were
    there from the start."""

    kind = EntityKind.ENGINE
    key = "slow_first_token"
    signals = ("engine.ttft_p50",)
    confidence = 0.6

    def __init__(self, settings: DetectionSettings) -> None:
        super().__init__()
        self._limit_s = settings.ttft_limit_s

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Against the limit of the settings."""
        median_s = block.now("engine.ttft_p50")
        return np.nan_to_num(median_s) >= self._limit_s, np.isfinite(median_s)

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """The time, and the queue where there is one."""
        found = [moved(frame, block, row, "engine.ttft_p50", Direction.UP, onset_s)]
        if np.nan_to_num(block.known("engine.requests_waiting")[row]) >= 1:
            found.append(moved(frame, block, row, "engine.requests_waiting", Direction.UP, onset_s))
        return tuple(found)


class ProbeFailed(Standing):
    """Health requests are refused, unanswered or answered with 5xx."""

    kind = EntityKind.ENGINE
    key = "probe_failed"
    signals = ("engine.probe_status",)
    need = 2
    of = 3
    witness = Witness.PROBE

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """0 is no answer."""
        status = block.now("engine.probe_status")
        bad = (status == 0) | (np.nan_to_num(status) >= _UNAVAILABLE)
        return bad, np.isfinite(status)

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """The state, with the status as its figure."""
        return (
            present("probe_failed", onset_s),
            moved(frame, block, row, "engine.probe_status", Direction.UP, onset_s),
        )
