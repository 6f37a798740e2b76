"""Xids stand until the GPU has been reset, or until nothing was said of them for a time of their
class: bursts end after silence, sticky codes hardly do. Used by `detection.rules.xid`.

A GPU was reset when it was gone from a page that was read and is back, or when its node has booted
anew. A page that could not be read proves nothing: silence ends an Xid only where the exporter, or
another GPU of the node, spoke meanwhile.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pydantic import TypeAdapter

from detection.frame import Frame
from detection.rules.tables import XidPolicy
from fleetmend.model.entities import EntityId, EntityKind, RelationKind
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.streams.stage import Json

GONE_TICKS = 3
"""Ticks without the GPU on a page that was read: a single bad read of the driver is no reset."""
BACK_TICKS = 3
"""Ticks in which the GPU must have spoken again."""
_BOOT = "boot"


@dataclass(slots=True)
class LastingXid:
    """One Xid of one GPU."""

    entity: EntityId
    policy: XidPolicy
    witness: Witness
    onset_s: float
    heard_s: float
    stands_s: float
    """For so long after its last word it stands where nothing tells of a reset."""
    missed: int = 0
    """Ticks in a row in which the GPU was missing, as a witness saw; stays once it counts as
    gone."""
    back: int = 0
    """Ticks in which it has spoken since it was gone."""


_SAVED = TypeAdapter(list[LastingXid])


class LastingXids:
    """All Xids that stand."""

    def __init__(self) -> None:
        self._stands: dict[tuple[EntityId, int], LastingXid] = {}

    def hear(self, told: LastingXid) -> None:
        """It was told (again): what was seen of a reset before does not count."""
        known = self._stands.get((told.entity, told.policy.xid))
        if known is not None:
            told.onset_s, told.witness = known.onset_s, known.witness
        self._stands[told.entity, told.policy.xid] = told

    def observe(self, frame: Frame) -> list[LastingXid]:
        """Those that still stand after this tick."""
        if not self._stands:
            return []
        booted = _booted(frame.events)
        for key, stands in list(self._stands.items()):
            node = frame.topology.ancestor(stands.entity, EntityKind.NODE)
            rebooted = node is not None and booted.get(node, -np.inf) > stands.heard_s
            if (
                rebooted
                or _is_back(frame, stands, node)
                or frame.end_s - stands.heard_s > stands.stands_s
            ):
                del self._stands[key]
        return [self._stands[key] for key in sorted(self._stands)]

    def snapshot(self) -> Json:
        """As JSON."""
        saved: Json = _SAVED.dump_python(
            [self._stands[key] for key in sorted(self._stands)], mode="json"
        )
        return saved

    def restore(self, state: Json) -> None:
        """Become what `snapshot` saved."""
        self._stands = {(one.entity, one.policy.xid): one for one in _SAVED.validate_python(state)}


def _booted(events: Iterable[Event]) -> dict[EntityId, float]:
    """Nodes that have booted anew, and when that was seen."""
    return {
        event.subject: event.time_s
        for event in events
        if event.type is EventType.CHANGE and event.data.get("change") == _BOOT
    }


def _is_back(frame: Frame, stands: LastingXid, node: EntityId | None) -> bool:
    """Count one tick; true once the GPU was gone and has spoken again for some ticks."""
    block = frame.blocks.get(EntityKind.GPU)
    row = None if block is None else block.row.get(stands.entity)
    if block is None or row is None:
        return False
    heard = frame.hearing.heard(block)
    if heard[row]:
        if stands.missed >= GONE_TICKS:
            stands.back += 1
        else:
            stands.missed = 0
        return stands.back >= BACK_TICKS
    if node is not None and (_page_read(frame, node) or _peer_heard(frame, stands.entity, node)):
        stands.missed += 1
        stands.back = 0
    return False


def _page_read(frame: Frame, node: EntityId) -> bool:
    """Whether the node's GPU exporter was read in this tick."""
    block = frame.blocks.get(EntityKind.NODE)
    if block is None or node not in block.row:
        return False
    return bool(block.now("node.gpu_scrape_up")[block.row[node]] == 1)


def _peer_heard(frame: Frame, gpu: EntityId, node: EntityId) -> bool:
    block = frame.blocks[EntityKind.GPU]
    heard = frame.hearing.heard(block)
    peers = frame.topology.sources(node, RelationKind.PART_OF)
    return any(heard[block.row[peer]] for peer in peers if peer != gpu and peer in block.row)
