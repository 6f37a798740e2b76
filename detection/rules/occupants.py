"""Who else is on the GPU, and is there room left: foreign processes and a full frame buffer."""

import numpy as np

from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.robust import divide
from detection.rules.standing import Standing
from detection.saved import join, part
from detection.streaks import Flags
from detection.symptoms import moved, present
from fleetmend.model.entities import EntityKind
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State


class ForeignProcess(Standing):
    """A process that belongs to no known pod holds memory of the GPU.

    Two looks of three: a tool that asks the card something is gone after one."""

    kind = EntityKind.GPU
    key = "foreign_process"
    signals = ("gpu.processes_foreign", "gpu.memory_foreign")
    need = 2
    of = 3

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Any foreign process, or memory held by one."""
        count, held = block.now("gpu.processes_foreign"), block.now("gpu.memory_foreign")
        seen = np.isfinite(count) | np.isfinite(held)
        return (np.nan_to_num(count) > 0) | (np.nan_to_num(held) > 0), seen

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """The state, and how much memory it takes."""
        return (
            present("foreign_process", onset_s),
            moved(frame, block, row, "gpu.memory_foreign", Direction.UP, onset_s),
        )


class MemoryFull(Standing):
    """Next to nothing of the frame buffer is free, and that was not so before.

    Engines fill nine tenths and more on purpose, so a high share alone is no fault."""

    kind = EntityKind.GPU
    key = "memory_full"
    signals = ("gpu.memory_used",)
    _GAP = 0.02
    """Least distance to the usual share."""
    _MEMORY_TICKS = 300

    def __init__(self, settings: DetectionSettings) -> None:
        super().__init__()
        self._share = settings.memory_full_share
        self._cells = Cells(per_signal=False, usual=np.nan)

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Share in use now against the usual one, which is learnt while it does not stand."""
        used, free = block.now("gpu.memory_used"), block.now("gpu.memory_free")
        share = divide(used, used + free)
        seen = np.isfinite(share)
        usual = self._cells.of(block)["usual"]
        known = np.where(np.isnan(usual), share, usual)
        full = seen & (share >= self._share) & (share - known >= self._GAP)
        learn = seen & ~full
        usual[learn] = (known + (share - known) / self._MEMORY_TICKS)[learn]
        return full, seen

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """What is free and what is used."""
        return (
            moved(frame, block, row, "gpu.memory_free", Direction.DOWN, onset_s),
            moved(frame, block, row, "gpu.memory_used", Direction.UP, onset_s),
        )

    def snapshot(self) -> State:
        """Looks and usual shares."""
        return join({"looks": super().snapshot(), "usual": self._cells.snapshot()})

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        super().restore(part(state, "looks"))
        self._cells.restore(part(state, "usual"))
