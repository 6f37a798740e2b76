"""The ledger for people and programs: an entry for each entity, published when it changes.

The state of an entity is told at once, what becomes of its single signals every ten seconds, and
all of it once a day again, since the log forgets. Called by `coverage.py` at the end of a tick.
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from detection.blocks import Block
from detection.cells import Cells
from detection.domains import Domains, Quiet, Voices
from detection.frame import Frame
from detection.freshness import CODE, LATE_GAPS, STATES, UNEXPECTED, Codes
from detection.ledger import Ledger
from detection.links import cohort_of
from detection.pages import Pages
from detection.saved import join, part
from fleetmend.model.coverage import LEDGER, Coverage, Freshness
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, key_of, kind_of
from fleetmend.streams.stage import Json, State

_EVERY_S = 10.0
"""Seconds between looks at single signals, and between two words of the ledger about itself."""
_AGAIN_S = 86_400.0
_ENTRIES_MAX = 2000
"""Entries of one tick; what is left over follows in the next."""
_UNTOLD = -2
_HASH = np.uint64(0x9E3779B97F4A7C15)
"""2^64 divided by the golden ratio: spreads column numbers over all bits (Knuth, TAOCP 6.4)."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How things stand at the end of a tick."""

    voices: Voices
    quiet: list[Quiet]
    still_nodes: frozenset[EntityId]
    """Nodes whose GPU exporter stands still."""
    never: frozenset[EntityId]


@dataclass(slots=True)
class _Told:
    """The last entry of something that has no row."""

    state: Freshness
    since: int
    told: int


_SAVED = TypeAdapter(dict[EntityId, _Told])


class Entries:
    """What was published of each entity."""

    def __init__(self, ledger: Ledger, pages: Pages, domains: Domains) -> None:
        self._ledger = ledger
        self._pages = pages
        self._domains = domains
        self._rows = Cells(
            per_signal=False, state=_UNTOLD, shown=_UNTOLD, since=-1, told=-1, mark=0
        )
        self._others: dict[EntityId, _Told] = {}
        """Collectors, and entities that were never heard."""
        self._begun = -1
        """Tick in which the ledger was opened."""

    def changes(self, frame: Frame, standing: Standing) -> list[Coverage]:
        """The entries that are new or different, at most some thousands."""
        found = [self._gone(entity, frame) for entity in frame.gone if _has_entry(entity)]
        whole = frame.tick % frame.ticks(_EVERY_S) == 0
        if self._begun < 0 or whole:
            found.append(self._own(frame))
        for kind in standing.voices.blocks:
            room = _ENTRIES_MAX - len(found)
            found += self._of_kind(frame, standing, kind, whole=whole, most=room)
        found += self._of_others(frame, standing)
        return found

    def _of_kind(
        self, frame: Frame, standing: Standing, kind: EntityKind, *, whole: bool, most: int
    ) -> Iterator[Coverage]:
        block, seen = standing.voices.blocks[kind], standing.voices.seen[kind]
        rows = self._rows.of(block)
        states = self._states(frame, standing, block, kind)
        expected = states != UNEXPECTED
        changed = expected & (states != rows["state"])
        rows["state"][changed], rows["since"][changed] = states[changed], frame.tick
        due = expected & (states != rows["shown"])
        due |= expected & (frame.tick - rows["told"] >= frame.ticks(_AGAIN_S))
        signals = seen.signals
        if whole or due.any():
            signals = self._with_peers(frame, block, kind, signals)
            marks = self._marks(block, kind, signals)
            due |= expected & whole & (marks != rows["mark"])
            for row in np.flatnonzero(due)[: max(0, most)]:
                rows["shown"][row], rows["told"][row] = states[row], frame.tick
                rows["mark"][row] = marks[row]
                yield self._entry(frame, standing, kind, int(row), signals[row])

    def _states(self, frame: Frame, standing: Standing, block: Block, kind: EntityKind) -> Codes:
        """The state of every row as a person would say it."""
        seen, voices = standing.voices.seen[kind], standing.voices
        states = seen.states.copy()
        fresh = states == CODE[Freshness.FRESH]
        states[fresh & seen.stale] = CODE[Freshness.LATE]
        states[voices.absent[kind]] = CODE[Freshness.ABSENT]
        for node in standing.still_nodes if kind is EntityKind.GPU else ():
            for gpu in frame.topology.sources(node, RelationKind.PART_OF):
                row = block.row.get(gpu)
                if row is not None and UNEXPECTED < states[row] < CODE[Freshness.FROZEN]:
                    states[row] = CODE[Freshness.FROZEN]
        return states

    def _with_peers(self, frame: Frame, block: Block, kind: EntityKind, signals: Codes) -> Codes:
        """The signals with those that an entity never sent and its peers always do."""
        filled = signals.copy()
        for cohort in frame.links.cohorts.get(kind, {}).values():
            never = self._ledger.never_heard(block, cohort) & (filled[cohort] == UNEXPECTED)
            if never.any():
                filled[cohort] = np.where(never, CODE[Freshness.NEVER], filled[cohort])
        return filled

    def _marks(self, block: Block, kind: EntityKind, signals: Codes) -> NDArray[np.int64]:
        """A number for each row that differs when what is told of its signals or page does."""
        columns = np.arange(1, signals.shape[1] + 1, dtype=np.uint64)
        weights = (columns * _HASH) | np.uint64(1)
        values = (signals.astype(np.int64) + 1).astype(np.uint64)
        marks: NDArray[np.int64] = (values * weights).sum(axis=1, dtype=np.uint64).view(np.int64)
        for entity, said in self._pages.failing(kind):
            row = block.row.get(entity)
            if row is not None:
                marks[row] ^= zlib.crc32(said.encode())
        return marks

    def _entry(
        self, frame: Frame, standing: Standing, kind: EntityKind, row: int, codes: Codes
    ) -> Coverage:
        block, seen = standing.voices.blocks[kind], standing.voices.seen[kind]
        entity, rows = block.entities[row], self._rows.of(block)
        last = int(frame.hearing.last(block)[row])
        return self._made(
            frame,
            entity,
            STATES[rows["state"][row]],
            since=int(rows["since"][row]),
            heard_s=frame.seconds(last) if last >= 0 else None,
            every_s=float(seen.usual_s[row]),
            signals=_by_state(codes, block.signals),
        )

    def _of_others(self, frame: Frame, standing: Standing) -> Iterator[Coverage]:
        """Collectors by their heartbeats and what was found of them, and who was never heard."""
        now: dict[EntityId, tuple[Freshness, int | None, float | None]] = {}
        for collector, beat in self._domains.beats.known().items():
            silence = frame.tick - beat.last
            state = Freshness.LATE if silence > LATE_GAPS * beat.gap else Freshness.FRESH
            now[collector] = state, beat.last, beat.gap * frame.period_s
        for quiet in standing.quiet:
            for one in quiet.hidden:
                if kind_of(one) is EntityKind.COLLECTOR:
                    _, last, every_s = now.get(one, (None, quiet.tick - 1, None))
                    now[one] = Freshness.ABSENT, last, every_s
        for entity in standing.never:
            now[entity] = Freshness.NEVER, None, None
        for entity, (state, last, every_s) in sorted(now.items()):
            told = self._others.get(entity)
            if told is not None and told.state is state:
                if frame.tick - told.told < frame.ticks(_AGAIN_S):
                    continue
                told.told = frame.tick
            else:
                told = self._others[entity] = _Told(state, frame.tick, frame.tick)
            heard_s = None if last is None else frame.seconds(last)
            signals = self._of_peers(frame, entity) if state is Freshness.NEVER else {}
            yield self._made(
                frame,
                entity,
                state,
                since=told.since,
                heard_s=heard_s,
                every_s=every_s,
                signals=signals,
            )
        for entity in sorted(self._others.keys() - now.keys()):
            del self._others[entity]
            if not self._has_row(standing, entity):
                yield self._gone(entity, frame)

    def _of_peers(self, frame: Frame, entity: EntityId) -> dict[Freshness, tuple[str, ...]]:
        """What others of the cohort always send, of an entity that sent nothing yet."""
        kind = kind_of(entity)
        block = frame.blocks.get(kind)
        cohort = frame.links.cohorts.get(kind, {}).get(cohort_of(frame.topology, entity))
        if block is None or cohort is None:
            return {}
        names = np.flatnonzero(self._ledger.expected_of(block, cohort))
        wanted = tuple(sorted(block.signals[column] for column in names))
        return {Freshness.NEVER: wanted} if wanted else {}

    def _made(
        self,
        frame: Frame,
        entity: EntityId,
        state: Freshness,
        *,
        since: int,
        heard_s: float | None,
        every_s: float | None,
        signals: Mapping[Freshness, tuple[str, ...]],
    ) -> Coverage:
        node = frame.node_of(entity)
        return Coverage(
            entity=entity,
            at_s=frame.reached_s,
            state=state,
            since_s=frame.seconds(since),
            heard_s=heard_s,
            every_s=every_s,
            signals=dict(signals),
            outcome=self._outcome(entity, node),
            node=node or "",
            pool=_pool(frame, entity, node),
        )

    def _outcome(self, entity: EntityId, node: EntityId | None) -> str:
        """What became of the last scrape of the page that speaks of `entity`, when it failed."""
        kind = kind_of(entity)
        if kind is EntityKind.GPU:
            return "" if node is None else self._pages.outcome(node, kind)
        return self._pages.outcome(entity, kind)

    def _gone(self, entity: EntityId, frame: Frame) -> Coverage:
        self._others.pop(entity, None)
        state, since_s = Freshness.ABSENT, frame.start_s
        return Coverage(entity, frame.reached_s, state, since_s, gone=True)

    def _own(self, frame: Frame) -> Coverage:
        """How far the ledger has come."""
        self._begun = frame.tick if self._begun < 0 else self._begun
        return Coverage(
            LEDGER,
            frame.reached_s,
            Freshness.FRESH,
            frame.seconds(self._begun),
            heard_s=frame.start_s,
            every_s=_EVERY_S,
        )

    def _has_row(self, standing: Standing, entity: EntityId) -> bool:
        block = standing.voices.blocks.get(kind_of(entity))
        return block is not None and entity in block.row

    def snapshot(self) -> State:
        """What was published."""
        others: Json = _SAVED.dump_python(dict(sorted(self._others.items())), mode="json")
        return {**join({"rows": self._rows.snapshot()}), "others": others, "begun": self._begun}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._rows.restore(part(state, "rows"))
        self._others = _SAVED.validate_python(state.get("others", {}))
        self._begun = int(str(state.get("begun", -1)))


def _by_state(codes: Codes, signals: list[str]) -> dict[Freshness, tuple[str, ...]]:
    """Names of the expected signals by the state that they are in."""
    found: dict[Freshness, tuple[str, ...]] = {}
    for code, state in enumerate(STATES):
        names = tuple(sorted(signals[column] for column in np.flatnonzero(codes == code)))
        if names:
            found[state] = names
    return found


def _pool(frame: Frame, entity: EntityId, node: EntityId | None) -> str:
    for member in (entity, node):
        if member is None:
            continue
        for group in frame.topology.targets(member, RelationKind.MEMBER_OF):
            return key_of(group)
        named = frame.topology.attributes.get(member, {}).get("pool", "")
        if named:
            return named
    return ""


def _has_entry(entity: EntityId) -> bool:
    kinds = (EntityKind.GPU, EntityKind.ENGINE, EntityKind.NODE, EntityKind.COLLECTOR)
    return kind_of(entity) in kinds
