"""Silence as a finding: entities that are absent, frozen, stale or were never heard.

The silence of a whole node is one finding on the node, and a GPU exporter that cannot be read is
one on its node: what is inside is not accused. Root cause and remediation read the findings through
`fleetmend.views.coverage`.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from detection.base import Opinion
from detection.blocks import Block
from detection.frame import Frame
from detection.ledger import Ledger, Seen
from detection.saved import join, part
from detection.streaks import Streaks
from detection.symptoms import present
from fleetmend.model.entities import EntityId, EntityKind, RelationKind
from fleetmend.model.events import EventType, Witness
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import State

Flags = NDArray[np.bool_]

_KINDS = (EntityKind.GPU, EntityKind.ENGINE, EntityKind.NODE)
"""What is expected to speak for itself."""
_NEVER_S = 300.0
"""A new engine may take minutes to load its model before it says anything."""
_NEVER_EVERY = 30
"""Ticks between looks for entities that never spoke: it walks the topology."""
_SCRAPES_FAILED = 3
_QUIET_S = 2.0
_NAMES_SHOWN = 5
_COUNTS = TypeAdapter(dict[EntityId, int])


class Coverage:
    """The ledger's judgement as opinions."""

    name = "coverage"

    def __init__(self, settings: DetectionSettings) -> None:
        self._ledger = Ledger(settings)
        self._refused = Streaks(need=2, of=3)
        self._exporter = Streaks(need=2, of=3)
        self._failed: dict[EntityId, int] = {}
        """Scrapes in a row that failed, by entity, as their events tell."""
        self._named: dict[EntityId, int] = {}
        """Tick in which an entity was first seen in the topology without ever being heard."""

    def observe(self, frame: Frame) -> list[Opinion]:
        """What is not heard as it should be."""
        self._count_scrapes(frame)
        seen = {
            kind: self._ledger.look(frame, block)
            for kind in _KINDS
            if (block := frame.blocks.get(kind)) is not None and block.shape[0]
        }
        absent = {kind: s.absent | self._unread(frame, kind) for kind, s in seen.items()}
        nodes, exporters = self._silent_nodes(frame, seen, absent), self._exporters(frame)
        opinions = [
            _opinion(node, "absent", 0.9, _time(frame, tick), "all of the node is silent")
            for node, tick in nodes.items()
        ]
        opinions += [
            _opinion(node, "exporter_down", 0.8, _time(frame, tick), "GPU exporter not read")
            for node, tick in exporters.items()
            if node not in nodes
        ]
        covered = set(nodes)
        for kind in seen:
            hidden = covered | set(exporters) if kind is EntityKind.GPU else covered
            opinions += self._of_kind(frame, frame.blocks[kind], seen[kind], absent[kind], hidden)
        return [*opinions, *self._never(frame), *_too_late(frame, covered)]

    def _of_kind(
        self, frame: Frame, block: Block, seen: Seen, absent: Flags, hidden: set[EntityId]
    ) -> Iterator[Opinion]:
        for row in np.flatnonzero(absent | seen.frozen | seen.stale):
            entity = block.entities[row]
            node = frame.topology.ancestor(entity, EntityKind.NODE)
            if entity in hidden or node in hidden:
                continue
            onset_s = _time(frame, int(frame.hearing.last(block)[row]) + 1)
            if absent[row]:
                yield _opinion(entity, "absent", 0.8, onset_s, "")
            elif seen.frozen[row]:
                yield _opinion(entity, "frozen", 0.7, frame.start_s, "")
            else:
                names = self._ledger.missing(frame, block, int(row))
                shown = ", ".join(names[:_NAMES_SHOWN])
                yield _opinion(entity, "stale", 0.5, frame.start_s, f"{len(names)} gone: {shown}")

    def _unread(self, frame: Frame, kind: EntityKind) -> Flags:
        """Rows whose page could not be read, as the scraper itself says."""
        block = frame.blocks[kind]
        up = block.now(f"{kind.value}.scrape_up")
        refused = self._refused.feed(block, up == 0, np.isfinite(up))
        failed = [
            block.row[e] for e, n in self._failed.items() if n >= _SCRAPES_FAILED and e in block.row
        ]
        refused[failed] = True
        return refused

    def _exporters(self, frame: Frame) -> dict[EntityId, int]:
        """Nodes whose GPU exporter cannot be read, with the tick since when."""
        block = frame.blocks.get(EntityKind.NODE)
        if block is None or not block.shape[0]:
            return {}
        up = block.now("node.gpu_scrape_up")
        down = self._exporter.feed(block, up == 0, np.isfinite(up))
        return {
            block.entities[row]: self._exporter.since(block, int(row))
            for row in np.flatnonzero(down)
        }

    def _silent_nodes(
        self, frame: Frame, seen: dict[EntityKind, Seen], absent: dict[EntityKind, Flags]
    ) -> dict[EntityId, int]:
        """Nodes of which nothing is heard any more: neither they nor anything in them; at least two
        voices must have been there. With the tick of the last word."""
        silent = {
            frame.blocks[kind].entities[row]
            for kind, flags in absent.items()
            for row in np.flatnonzero(flags)
        }
        known = (
            {
                entity: int(frame.hearing.last(frame.blocks[kind])[row])
                for kind, found in seen.items()
                for entity, row in frame.blocks[kind].row.items()
                if found.known[row]
            }
            if silent
            else {}
        )
        suspects = {frame.topology.ancestor(entity, EntityKind.NODE) for entity in silent}
        quiet: dict[EntityId, int] = {}
        for node in sorted(node for node in suspects if node is not None):
            voices = [entity for entity in _inside(node, frame) if entity in known]
            if len(voices) >= 2 and all(voice in silent for voice in voices):
                quiet[node] = max(known[voice] for voice in voices) + 1
        return quiet

    def _count_scrapes(self, frame: Frame) -> None:
        for event in frame.events:
            if event.type is EventType.SCRAPE:
                if event.data.get("outcome", "ok") == "ok":
                    self._failed.pop(event.subject, None)
                else:
                    self._failed[event.subject] = self._failed.get(event.subject, 0) + 1

    def _never(self, frame: Frame) -> Iterator[Opinion]:
        """Entities of the topology that never spoke, where others of their kind do."""
        for kind in (EntityKind.GPU, EntityKind.ENGINE):
            block = frame.blocks.get(kind)
            if block is None or not block.row or frame.tick % _NEVER_EVERY:
                continue
            silent = [entity for entity in frame.topology.of_kind(kind) if entity not in block.row]
            for entity in silent:
                since = self._named.setdefault(entity, frame.tick)
                if (frame.tick - since) * frame.period_s > _NEVER_S:
                    opinion = _opinion(entity, "never_heard", 0.4, _time(frame, since), "")
                    yield replace(opinion, quiet_s=2 * _NEVER_EVERY * frame.period_s)
        heard = [e for e in self._named if any(e in b.row for b in frame.blocks.values())]
        for entity in heard:
            del self._named[entity]

    def snapshot(self) -> State:
        """Expectations and counts."""
        parts = {
            "ledger": self._ledger.snapshot(),
            "refused": self._refused.snapshot(),
            "exporter": self._exporter.snapshot(),
        }
        return {
            **join(parts),
            "failed": {str(entity): count for entity, count in sorted(self._failed.items())},
            "named": {str(entity): tick for entity, tick in sorted(self._named.items())},
        }

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._ledger.restore(part(state, "ledger"))
        self._refused.restore(part(state, "refused"))
        self._exporter.restore(part(state, "exporter"))
        self._failed = _COUNTS.validate_python(state["failed"])
        self._named = _COUNTS.validate_python(state["named"])


def _inside(node: EntityId, frame: Frame) -> set[EntityId]:
    """A node, its GPUs and the engines on them."""
    gpus = frame.topology.sources(node, RelationKind.PART_OF)
    hosts = (node, *gpus)
    engines = {e for host in hosts for e in frame.topology.sources(host, RelationKind.RUNS_ON)}
    return {node, *gpus, *engines}


def _opinion(
    entity: EntityId, reason: str, confidence: float, onset_s: float, detail: str
) -> Opinion:
    word = {"frozen": "telemetry_frozen", "stale": "telemetry_stale"}.get(
        reason, "telemetry_absent"
    )
    return Opinion(
        detector=Coverage.name,
        entity=entity,
        key=reason,
        reason=reason,
        witness=Witness.SILENCE,
        confidence=confidence,
        symptoms=(present(word, onset_s),),
        onset_s=onset_s,
        detail=detail,
        quiet_s=_QUIET_S,
    )


def _too_late(frame: Frame, hidden: set[EntityId]) -> Iterator[Opinion]:
    """Entities whose samples came after their tick had closed, and nothing in time."""
    for entity, count in sorted(frame.late.items()):
        block = next((b for b in frame.blocks.values() if entity in b.row), None)
        if block is None or entity in hidden:
            continue
        if not np.isfinite(block.cells["now"][block.row[entity]]).any():
            yield _opinion(entity, "stale", 0.5, frame.start_s, f"{count} samples came too late")


def _time(frame: Frame, tick: int) -> float:
    return frame.seconds(tick) if tick >= 0 else frame.start_s
