"""PCIe: a link near its limit, and a link that runs below what it could."""

import numpy as np

from detection.blocks import Block
from detection.frame import Frame
from detection.robust import Floats
from detection.rules.standing import Standing
from detection.streaks import Flags
from detection.symptoms import moved
from fleetmend.model.entities import EntityKind
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings

_LANE_BYTES = {1: 0.25e9, 2: 0.5e9, 3: 0.985e9, 4: 1.969e9, 5: 3.938e9, 6: 7.563e9}
"""Bytes per second and lane after encoding, by PCIe generation (PCI-SIG)."""
_LANES = 16.0
_GENERATION = 4.0
"""What is assumed where the exporter does not tell: the narrowest that this decade's data-centre
cards have."""
_TIMES_USUAL = 8.0
"""How far above its own past the traffic must be: a busy but lawful link is not one that was
taken."""
_BUSY = 0.1
"""Utilisation from which a GPU counts as working: idle ones lower their link on purpose."""


class LinkSaturated(Standing):
    """Bytes near what the link can carry and far above this GPU's own past."""

    kind = EntityKind.GPU
    key = "link_saturated"
    signals = ("gpu.pcie_rx", "gpu.pcie_tx")

    def __init__(self, settings: DetectionSettings) -> None:
        super().__init__()
        self._share = settings.link_share

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Either direction."""
        limit = self._share * capacity(block)
        rates = [block.now(signal) for signal in ("gpu.pcie_rx", "gpu.pcie_tx")]
        usual = [frame.normal.level(block, signal) for signal in ("gpu.pcie_rx", "gpu.pcie_tx")]
        over = [
            np.nan_to_num(rate) >= np.maximum(limit, _TIMES_USUAL * np.nan_to_num(level))
            for rate, level in zip(rates, usual, strict=True)
        ]
        return over[0] | over[1], np.isfinite(rates[0]) | np.isfinite(rates[1])

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """Both directions."""
        return tuple(
            moved(frame, block, row, signal, Direction.UP, onset_s)
            for signal in ("gpu.pcie_rx", "gpu.pcie_tx")
        )


class LinkDegraded(Standing):
    """The link has fewer lanes or a lower generation than it could have, while the GPU works."""

    kind = EntityKind.GPU
    key = "link_degraded"
    signals = ("gpu.pcie_link_width_max", "gpu.pcie_link_gen_max")
    confidence = 0.6
    need = 10
    of = 12

    def look(self, frame: Frame, block: Block) -> tuple[Flags, Flags]:
        """Narrower or slower than the most it could be."""
        busy = np.nan_to_num(block.now("gpu.utilization")) >= _BUSY
        width = _below(block, "gpu.pcie_link_width")
        generation = _below(block, "gpu.pcie_link_gen")
        told = np.isfinite(
            block.now("gpu.pcie_link_width") + block.known("gpu.pcie_link_width_max")
        )
        told |= np.isfinite(block.now("gpu.pcie_link_gen") + block.known("gpu.pcie_link_gen_max"))
        return width | generation, told & busy

    def symptoms(self, frame: Frame, block: Block, row: int, onset_s: float) -> tuple[Symptom, ...]:
        """Whichever is below."""
        return tuple(
            moved(frame, block, row, signal, Direction.DOWN, onset_s)
            for signal in ("gpu.pcie_link_width", "gpu.pcie_link_gen")
            if block.known(signal)[row] < block.known(f"{signal}_max")[row]
        )


def capacity(block: Block) -> Floats:
    """Bytes per second that each GPU's link can carry in one direction, (rows,)."""
    generation = block.known("gpu.pcie_link_gen")
    lanes = block.known("gpu.pcie_link_width")
    generation = np.where(np.isfinite(generation), generation, _GENERATION)
    lane = np.full(len(generation), _LANE_BYTES[4])
    for number, carried in _LANE_BYTES.items():
        lane[np.trunc(generation) == number] = carried
    return lane * np.where(np.isfinite(lanes) & (lanes > 0), lanes, _LANES)


def _below(block: Block, signal: str) -> Flags:
    now, most = block.now(signal), block.known(f"{signal}_max")
    below: Flags = np.isfinite(now) & np.isfinite(most) & (now < most)
    return below
