"""Ranks of a parallel engine: the GPU that waits for a peer, and the peer it waits for.

A stopped or dead rank leaves the others at full utilisation in a collective that does not end. The
one to blame is the idle one. Fails when the peer runs on a GPU that nobody watches: then only the
waiting ones are told.
"""

import numpy as np

from detection.activity import Activity
from detection.base import Opinion
from detection.blocks import Block
from detection.frame import Frame
from detection.saved import join, part
from detection.streaks import Streaks
from detection.symptoms import moved, present
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State


class Ranks:
    """Spinning GPUs, and idle GPUs beside them."""

    name = "watchdog.ranks"

    def __init__(self, settings: DetectionSettings, activity: Activity) -> None:
        ticks = max(2, round(settings.stall_s))
        self._activity = activity
        self._spins = Streaks(need=ticks, of=ticks)
        self._idle = Streaks(need=ticks, of=ticks)

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each GPU that waits, and one for each that is waited for."""
        gpu = frame.blocks.get(EntityKind.GPU)
        if gpu is None or not gpu.shape[0]:
            return []
        heard = np.isfinite(gpu.now("gpu.utilization"))
        spins = self._spins.feed(gpu, self._activity.spins(gpu), heard)
        idle = self._idle.feed(gpu, self._activity.idle(gpu), heard)
        spins &= self._activity.spins(gpu)
        if not spins.any():
            return []
        opinions = [self._waits(frame, gpu, int(row)) for row in np.flatnonzero(spins)]
        pairs = frame.links.engine_gpu
        engines = np.unique(pairs.source[spins[pairs.target]])
        stopped = np.unique(pairs.target[np.isin(pairs.source, engines) & idle[pairs.target]])
        return opinions + [self._stopped(frame, gpu, int(row)) for row in stopped]

    def _waits(self, frame: Frame, gpu: Block, row: int) -> Opinion:
        onset_s = frame.seconds(self._spins.since(gpu, row))
        return Opinion(
            detector="watchdog",
            entity=gpu.entities[row],
            key="waits",
            reason="waiting_for_peer",
            witness=Witness.TELEMETRY,
            confidence=0.8,
            symptoms=(
                present("busy_without_work", onset_s),
                moved(frame, gpu, row, "gpu.power", Direction.DOWN, onset_s),
            ),
            onset_s=onset_s,
        )

    def _stopped(self, frame: Frame, gpu: Block, row: int) -> Opinion:
        onset_s = frame.seconds(self._idle.since(gpu, row))
        released = bool(self._activity.released(gpu)[row])
        symptoms = [
            present("no_progress", onset_s),
            moved(frame, gpu, row, "gpu.utilization", Direction.DOWN, onset_s),
        ]
        if released:
            symptoms.append(present("memory_released", onset_s))
            symptoms.append(moved(frame, gpu, row, "gpu.sm_clock", Direction.DOWN, onset_s))
        return Opinion(
            detector="watchdog",
            entity=gpu.entities[row],
            key="progress",
            reason="rank_dead" if released else "rank_stopped",
            witness=Witness.PEER,
            confidence=0.9,
            symptoms=tuple(symptoms),
            onset_s=onset_s,
        )

    def snapshot(self) -> State:
        """Streaks."""
        return join({"spins": self._spins.snapshot(), "idle": self._idle.snapshot()})

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._spins.restore(part(state, "spins"))
        self._idle.restore(part(state, "idle"))
