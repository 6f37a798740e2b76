"""Silence as a finding: entities that are absent, frozen, stale or were never heard, and domains
of which nothing is heard.

The silence of a domain (a collector, a pool of pages, a node, a GPU exporter) is one finding on the
domain: what is inside is not accused. Root cause and remediation read the findings by
`fleetmend.views.coverage`; `entries.py` keeps the whole ledger for people.
"""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from detection.base import Opinion
from detection.blocks import Block
from detection.domains import Domains, Voices
from detection.entries import Entries, Standing
from detection.frame import Frame
from detection.freshness import CODE, Codes
from detection.ledger import Ledger
from detection.pages import OWN_PAGE, Pages
from detection.saved import join, part
from detection.symptoms import present
from fleetmend.model.coverage import Coverage as Entry
from fleetmend.model.coverage import Freshness
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.events import Witness
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import Json, State
from fleetmend.views.coverage import PART_MISSING, SYMPTOM_OF, covered

Flags = NDArray[np.bool_]

_KINDS = (EntityKind.GPU, EntityKind.ENGINE, EntityKind.NODE)
"""What is expected to speak for itself."""
_NEVER_S = 300.0
"""A new engine may take minutes to load its model before it says anything."""
_NEVER_EVERY = 30
"""Ticks between looks for entities that never spoke: it walks the topology."""
_QUIET_S = 2.0
_NAMES_SHOWN = 5
_FROM_SILENCE = frozenset({"hung"})
"""Reasons of other detectors that an engine's silence alone can give."""
_COUNTS = TypeAdapter(dict[EntityId, int])
_NONE: Flags = np.zeros(0, bool)


class Coverage:
    """The ledger's judgement as opinions, and its entries."""

    name = "coverage"

    def __init__(self, settings: DetectionSettings) -> None:
        self._ledger = Ledger(settings)
        self._pages = Pages(settings)
        self._domains = Domains(self._ledger, self._pages)
        self._entries = Entries(self._ledger, self._pages, self._domains)
        self._named: dict[EntityId, int] = {}
        """Tick in which an entity was first seen in the topology without ever being heard."""
        self._standing: Standing | None = None
        self._unwatched: set[EntityId] = set()
        """All whose collector or cluster is quiet in this tick."""

    def observe(self, frame: Frame) -> list[Opinion]:
        """What is not heard as it should be."""
        self._pages.update(frame)
        self._domains.beats.update(frame)
        voices, still_nodes = self._listen(frame)
        verdict = self._domains.quiet(frame, voices)
        found = verdict.found
        hidden = set(verdict.waiting).union(*(quiet.hidden for quiet in found))
        silent = [
            (entity, kind, row)
            for entity, kind, row in voices.silent()
            if entity not in hidden and not self._domains.undecided(frame, entity)
        ]
        nodes = self._silent_nodes(frame, voices, [entity for entity, _, _ in silent])
        exporters = self._exporters(frame, voices, silent, hidden | set(nodes))
        for quiet in verdict.stopped:
            inside = quiet.hidden & (nodes.keys() | exporters.keys())
            # One silent node takes its agent with it; an agent of several takes them with it.
            if len(inside) != 1 and quiet.domain not in hidden:
                found.append(quiet)
                hidden |= quiet.hidden
                for node in inside:
                    nodes.pop(node, None)
                    exporters.pop(node, None)
        hidden |= {e for node in nodes for e in covered(node, frame.topology)}
        unwatched = (q.hidden for q in found if q.reason != "pool_quiet")
        self._unwatched = set(verdict.waiting).union(*unwatched)
        opinions = [
            _opinion(quiet.domain, quiet.reason, 0.9, _time(frame, quiet.tick), quiet.detail)
            for quiet in found
        ]
        opinions += [
            _opinion(node, "absent", 0.9, _time(frame, tick), "all of the node is silent")
            for node, tick in nodes.items()
        ]
        opinions += [
            _opinion(node, "exporter_down", 0.8, _time(frame, tick), detail)
            for node, (tick, detail) in exporters.items()
        ]
        opinions += [
            _opinion(node, "exporter_frozen", 0.7, frame.start_s, "the GPU exporter stands still")
            for node in sorted(still_nodes - hidden)
        ]
        hidden |= {e for node in (*exporters, *still_nodes) for e in _gpus(node, frame)}
        shown = {entity for entity, _, _ in silent} - hidden - exporters.keys()
        for kind in voices.seen:
            opinions += self._of_kind(frame, voices, kind, shown, hidden)
        self._note_never(frame)
        self._standing = Standing(voices, found, frozenset(still_nodes), frozenset(self._named))
        return [*opinions, *self._never(frame, hidden), *_too_late(frame, hidden)]

    def explains(self, frame: Frame, opinion: Opinion) -> bool:
        """Whether an opinion of another detector rests on silence alone, and that silence is the
        collector's, or may be: an idle engine that nobody reads looks hung."""
        if opinion.witness is not Witness.SILENCE or opinion.reason not in _FROM_SILENCE:
            return False
        return opinion.entity in self._unwatched or self._domains.undecided(frame, opinion.entity)

    def entries(self, frame: Frame) -> list[Entry]:
        """What has changed in the ledger; after `observe`, once a tick."""
        return [] if self._standing is None else self._entries.changes(frame, self._standing)

    def _listen(self, frame: Frame) -> tuple[Voices, set[EntityId]]:
        """How every kind is heard, and the nodes whose GPU exporter stands still."""
        blocks = {
            kind: block
            for kind in _KINDS
            if (block := frame.blocks.get(kind)) is not None and block.shape[0]
        }
        seen = {
            kind: self._ledger.look(frame, block, self._pages.still_s(frame, block, kind))
            for kind, block in blocks.items()
        }
        unread = {kind: self._pages.unread(block, kind) for kind, block in blocks.items()}
        absent = {
            kind: s.absent | (unread[kind] & (frame.hearing.last(blocks[kind]) >= 0))
            for kind, s in seen.items()
        }
        node = blocks.get(EntityKind.NODE)
        unread_gpus = _NONE if node is None else self._pages.unread_gpus(node)
        still = np.zeros(0) if node is None else self._pages.gpus_still_s(frame, node)
        still_nodes = (
            set() if node is None else {node.entities[row] for row in np.flatnonzero(still > 0)}
        )
        return Voices(blocks, seen, absent, unread, unread_gpus), still_nodes

    def _of_kind(
        self,
        frame: Frame,
        voices: Voices,
        kind: EntityKind,
        shown: set[EntityId],
        hidden: set[EntityId],
    ) -> Iterator[Opinion]:
        block, seen, absent = voices.blocks[kind], voices.seen[kind], voices.absent[kind]
        for row in np.flatnonzero(absent | seen.frozen | seen.stale):
            entity = block.entities[row]
            if entity in hidden:
                continue
            if absent[row]:
                if entity in shown:
                    onset_s = _time(frame, int(frame.hearing.last(block)[row]) + 1)
                    detail = self._pages.outcome(entity, kind)
                    yield _opinion(entity, "absent", 0.8, onset_s, detail)
            elif seen.frozen[row]:
                yield _opinion(entity, "frozen", 0.7, frame.start_s, "")
            else:
                names = _absent_signals(seen.signals[row], block)
                some = ", ".join(names[:_NAMES_SHOWN])
                yield _opinion(entity, "stale", 0.5, frame.start_s, f"{len(names)} gone: {some}")

    def _silent_nodes(
        self, frame: Frame, voices: Voices, silent: list[EntityId]
    ) -> dict[EntityId, int]:
        """Nodes of which nothing is heard any more: neither they nor anything in them; at least two
        voices must have been there. With the first tick of silence."""
        quiet: dict[EntityId, int] = {}
        mute = set(silent)
        suspects = {frame.node_of(entity) for entity in silent}
        for node in sorted(node for node in suspects if node is not None):
            last = [
                (entity, int(frame.hearing.last(voices.blocks[kind])[row]))
                for entity in sorted(covered(node, frame.topology))
                for kind, block in voices.blocks.items()
                if (row := block.row.get(entity)) is not None and voices.seen[kind].known[row]
            ]
            if len(last) >= 2 and all(entity in mute for entity, _ in last):
                quiet[node] = max(tick for _, tick in last) + 1
        return quiet

    def _exporters(
        self,
        frame: Frame,
        voices: Voices,
        silent: list[tuple[EntityId, EntityKind, int]],
        hidden: set[EntityId],
    ) -> dict[EntityId, tuple[int, str]]:
        """Nodes whose GPU exporter is not read, as the scraper says, or of whose GPUs none is
        heard; with the tick since when and why."""
        found: dict[EntityId, tuple[int, str]] = {}
        node_block = voices.blocks.get(EntityKind.NODE)
        if node_block is not None:
            for row in np.flatnonzero(voices.unread_gpus):
                node = node_block.entities[row]
                said = self._pages.outcome(node, EntityKind.GPU)
                since = self._pages.unread_since(node_block, int(row), gpus=True)
                if node not in hidden:
                    found[node] = since, f"GPU exporter not read{f': {said}' if said else ''}"
        mute = {entity for entity, kind, _ in silent if kind is EntityKind.GPU} - hidden
        gpu_block = voices.blocks.get(EntityKind.GPU)
        if gpu_block is None:
            return found
        known = voices.seen[EntityKind.GPU].known
        suspects = {frame.node_of(gpu) for gpu in mute}
        done = hidden | found.keys()
        for node in sorted(node for node in suspects if node is not None and node not in done):
            gpus = [g for g in _gpus(node, frame) if g in gpu_block.row and known[gpu_block.row[g]]]
            if len(gpus) >= 2 and all(gpu in mute for gpu in gpus):
                last = max(int(frame.hearing.last(gpu_block)[gpu_block.row[g]]) for g in gpus)
                found[node] = last + 1, f"none of its {len(gpus)} GPUs is heard"
        return found

    def _note_never(self, frame: Frame) -> None:
        """Entities of the topology that never spoke, where others of their kind do, or a scraper
        says that it tries to read them."""
        if frame.tick % _NEVER_EVERY == 0:
            for kind in _KINDS:
                block = frame.blocks.get(kind)
                if block is None or not block.row:
                    continue
                last = frame.hearing.last(block)
                # A node without an exporter of its own is lawful, whatever else is told of it (that
                # its GPUs' page is read, for one); one whose own page is asked for is not.
                of_node = kind is EntityKind.NODE
                peers = not of_node and bool((last >= 0).any())
                own = block.known(f"{OWN_PAGE[kind]}up") if of_node else np.zeros(block.shape[0])
                asked = np.isfinite(own)
                for entity in frame.topology.of_kind(kind):
                    row = block.row.get(entity)
                    if peers if row is None else last[row] < 0 and asked[row]:
                        self._named.setdefault(entity, frame.tick)
        over = [e for e in self._named if e not in frame.topology or _is_heard(frame, e)]
        for entity in over:
            del self._named[entity]

    def _never(self, frame: Frame, hidden: set[EntityId]) -> Iterator[Opinion]:
        if frame.tick % _NEVER_EVERY:
            return
        for entity, since in sorted(self._named.items()):
            if entity not in hidden and (frame.tick - since) * frame.period_s > _NEVER_S:
                kind = kind_of(entity)
                said = self._pages.outcome(entity, kind)
                opinion = _opinion(entity, "never_heard", 0.4, _time(frame, since), said)
                yield replace(opinion, quiet_s=2 * _NEVER_EVERY * frame.period_s)

    def snapshot(self) -> State:
        """Expectations, counts, and what was published."""
        parts = {
            "ledger": self._ledger.snapshot(),
            "pages": self._pages.snapshot(),
            "beats": self._domains.beats.snapshot(),
            "entries": self._entries.snapshot(),
        }
        named: dict[str, Json] = {str(e): tick for e, tick in sorted(self._named.items())}
        return {**join(parts), "named": named}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._ledger.restore(part(state, "ledger"))
        self._pages.restore(part(state, "pages"))
        self._domains.beats.restore(part(state, "beats"))
        self._entries.restore(part(state, "entries"))
        self._named = _COUNTS.validate_python(state["named"])
        self._standing = None


def _gpus(node: EntityId, frame: Frame) -> list[EntityId]:
    return [
        e
        for e in frame.topology.sources(node, RelationKind.PART_OF)
        if kind_of(e) is EntityKind.GPU
    ]


def _is_heard(frame: Frame, entity: EntityId) -> bool:
    block = frame.blocks.get(kind_of(entity))
    row = None if block is None else block.row.get(entity)
    return block is not None and row is not None and int(frame.hearing.last(block)[row]) >= 0


def _absent_signals(codes: Codes, block: Block) -> list[str]:
    return [block.signals[c] for c in np.flatnonzero(codes == CODE[Freshness.ABSENT])]


_SHOWS = {
    "frozen": SYMPTOM_OF[Freshness.FROZEN],
    "exporter_frozen": SYMPTOM_OF[Freshness.FROZEN],
    "never_heard": SYMPTOM_OF[Freshness.NEVER],
    "stale": PART_MISSING,
}
"""What a reason shows; all others show absence."""


def _opinion(
    entity: EntityId, reason: str, confidence: float, onset_s: float, detail: str
) -> Opinion:
    return Opinion(
        detector=Coverage.name,
        entity=entity,
        key=reason,
        reason=reason,
        witness=Witness.SILENCE,
        confidence=confidence,
        symptoms=(present(_SHOWS.get(reason, SYMPTOM_OF[Freshness.ABSENT]), onset_s),),
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
