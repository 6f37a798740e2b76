"""Queues without work: requests wait while the GPUs behind them do far less than they usually do.

Neither number alone is odd enough: a queue is overload, an idle GPU is a quiet hour. Together they
say that something between the two holds the work back: a batch limit, a starved host, a lock.
"""

import numpy as np

from detection.base import Opinion
from detection.blocks import Block
from detection.frame import Frame
from detection.robust import divide
from detection.streaks import Streaks
from detection.symptoms import moved, present
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Symptom
from fleetmend.streams.stage import State

_WAITING_MIN = 2.0
_SLACK = 0.6
"""Share of a signal's usual value below which it is far less."""
_SURPLUS = 1.3
_SMOOTH_TICKS = 3
_NEED, _OF = 4, 5


class QueueWithoutWork:
    """Engines with a queue whose GPUs are nearly idle by their own measure."""

    name = "relation"

    def __init__(self) -> None:
        self._streaks = Streaks(need=_NEED, of=_OF)

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each engine in that state, with what tells its causes apart."""
        engine, gpu = frame.blocks.get(EntityKind.ENGINE), frame.blocks.get(EntityKind.GPU)
        if engine is None or gpu is None or not engine.shape[0] or not gpu.shape[0]:
            return []
        rows, pairs = engine.shape[0], frame.links.engine_gpu
        waiting = engine.now("engine.requests_waiting")
        work = divide(
            gpu.mean("gpu.sm_active", _SMOOTH_TICKS), frame.normal.level(gpu, "gpu.sm_active")
        )
        most = pairs.most(work, rows)
        tokens = np.nan_to_num(engine.now("engine.generation_tokens"))
        true = (np.nan_to_num(waiting) >= _WAITING_MIN) & (tokens > 0)
        true &= np.nan_to_num(most, nan=np.inf) < _SLACK
        holds = self._streaks.feed(engine, true, np.isfinite(waiting) & np.isfinite(most))
        return [self._opinion(frame, engine, int(row)) for row in np.flatnonzero(holds)]

    def _opinion(self, frame: Frame, engine: Block, row: int) -> Opinion:
        onset_s = frame.seconds(self._streaks.since(engine, row))
        symptoms = [
            present("queue_without_work", onset_s),
            moved(frame, engine, row, "engine.requests_waiting", Direction.UP, onset_s),
            *_beside(frame, engine, row, onset_s),
        ]
        return Opinion(
            detector=self.name,
            entity=engine.entities[row],
            key="queue_without_work",
            reason="queue_without_work",
            witness=Witness.TELEMETRY,
            confidence=0.8,
            symptoms=tuple(symptoms),
            onset_s=onset_s,
        )

    def snapshot(self) -> State:
        """The looks remembered."""
        return self._streaks.snapshot()

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._streaks.restore(state)


def _beside(frame: Frame, engine: Block, row: int, onset_s: float) -> list[Symptom]:
    """How running requests and the speed of each stand to their own past."""
    found = []
    for signal, watched in (
        ("engine.requests_running", (Direction.DOWN, Direction.UP)),
        ("engine.decode_rate", (Direction.DOWN,)),
    ):
        share = float(
            divide(engine.mean(signal, _SMOOTH_TICKS), frame.normal.level(engine, signal))[row]
        )
        for direction, holds in (
            (Direction.DOWN, share < _SLACK),
            (Direction.UP, share > _SURPLUS),
        ):
            if holds and direction in watched:
                found.append(moved(frame, engine, row, signal, direction, onset_s))
    return found
