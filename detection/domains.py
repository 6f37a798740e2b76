"""Whose silence it is: that of a collector, a pool of pages, a whole cluster, or of its children.

One finding for the domain explains a hundred silent children. A scraper that says of a page that it
cannot be read lives; one that says nothing of any page does not. Called by `coverage.py` when
something is silent.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.beats import Beat, Beats
from detection.blocks import Block
from detection.frame import Frame
from detection.hearing import HEARD_MIN
from detection.ledger import Ledger, Seen
from detection.pages import GPU_PAGE, OWN_PAGE, Pages
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, entity_id, split_entity_id
from fleetmend.views.coverage import covered

Flags = NDArray[np.bool_]

_OVERDUE = 1.5
"""Usual gaps after which a word is overdue: silence that cannot be told from a pause is none."""


@dataclass(frozen=True, slots=True)
class Quiet:
    """A domain of which nothing is heard any more."""

    domain: EntityId
    reason: str
    tick: int
    """The first tick of its silence."""
    detail: str
    hidden: frozenset[EntityId]
    """All whose silence this explains."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Who is quiet in one tick."""

    found: list[Quiet]
    stopped: list[Quiet]
    """Collectors of which no more is known than that their heartbeats have stopped."""
    waiting: frozenset[EntityId]
    """Who may belong to a cluster that is quiet as a whole: the next heartbeat will tell."""


@dataclass(frozen=True, slots=True)
class Voices:
    """What is heard of every entity in one tick, by kind."""

    blocks: Mapping[EntityKind, Block]
    seen: Mapping[EntityKind, Seen]
    absent: Mapping[EntityKind, Flags]
    """Silent, or said by a scraper to be unread."""
    unread: Mapping[EntityKind, Flags]
    """Own pages that the scraper could not read."""
    unread_gpus: Flags
    """Nodes whose GPU exporter's page could not be read."""

    def silent(self) -> Iterator[tuple[EntityId, EntityKind, int]]:
        """Every entity that is absent, with its row."""
        for kind, flags in self.absent.items():
            for row in np.flatnonzero(flags):
                yield self.blocks[kind].entities[row], kind, int(row)

    def still_talking(self, cluster: str) -> bool:
        """Whether anything of a cluster is heard, or not yet overdue."""
        for kind, seen in self.seen.items():
            overdue = self.absent[kind] | (seen.silence_s > _OVERDUE * seen.usual_s)
            for row in np.flatnonzero(seen.known & ~overdue):
                if split_entity_id(self.blocks[kind].entities[row])[0] == cluster:
                    return True
        return False


class Domains:
    """Judges domains; remembers the heartbeats of collectors."""

    def __init__(self, ledger: Ledger, pages: Pages) -> None:
        self.beats = Beats()
        self._ledger = ledger
        self._pages = pages

    def quiet(self, frame: Frame, voices: Voices) -> Verdict:
        """The widest domains that are quiet, none within another."""
        silent = [entity for entity, _, _ in voices.silent()]
        places = {p for e in silent for p in (e, frame.node_of(e)) if p}
        watchers = _above(frame, places, RelationKind.OBSERVES)
        found = [q for c in watchers if (q := self._scraper(frame, c)) is not None]
        stopped = list(self._stopped(frame))
        whole, waiting = self._clusters(frame, voices, [*found, *stopped])
        within = waiting.union(*(q.hidden for q in whole))
        found = [*whole, *(q for q in found if q.domain not in within)]
        hidden = within.union(*(q.hidden for q in found))
        for pool in _above(frame, places, RelationKind.MEMBER_OF):
            quiet = None if pool in hidden else self._pool(frame, voices, pool)
            if quiet is not None and not quiet.hidden <= hidden:
                found.append(quiet)
        told = {q.domain for q in found} | within
        return Verdict(found, [q for q in stopped if q.domain not in told], waiting)

    def undecided(self, frame: Frame, entity: EntityId) -> bool:
        """Whether it cannot be told yet who is silent: an entity, of which its scraper says nothing
        any more, or the scraper, of which nothing was heard since."""
        place = self._page_place(frame, entity)
        if place is None or not self._overdue(frame, [place])[0]:
            return False
        since = self._last(frame, place)
        for watcher in frame.topology.sources(place, RelationKind.OBSERVES):
            watched = self._watched(frame, watcher)
            if len(watched) > 1 and all(self._last(frame, other) <= since for other in watched):
                return True
        return False

    def _scraper(self, frame: Frame, collector: EntityId) -> Quiet | None:
        """A collector that says nothing of any of its pages any more."""
        watched = self._watched(frame, collector)
        if len(watched) < 2 or not all(self._overdue(frame, watched)):
            return None
        if not any(self._lost(frame, entity) for entity in watched):
            return None
        since = max(self._last(frame, entity) for entity in watched) + 1
        detail = f"says nothing of any of its {len(watched)} subjects any more"
        hidden = covered(collector, frame.topology)
        return Quiet(collector, "collector_quiet", since, detail, hidden)

    def _stopped(self, frame: Frame) -> Iterator[Quiet]:
        """Collectors whose heartbeats have stopped."""
        for collector, beat in self.beats.known().items():
            if _silence_s(frame, beat) <= self._beat_allowed_s(frame, beat):
                continue
            hidden = covered(collector, frame.topology)
            if beat.node:
                hidden |= {EntityId(beat.node)}
            detail = f"no heartbeat for {_silence_s(frame, beat):.0f} s"
            yield Quiet(collector, "collector_quiet", beat.last + 1, detail, hidden)

    def _clusters(
        self, frame: Frame, voices: Voices, quiet: Iterable[Quiet]
    ) -> tuple[list[Quiet], frozenset[EntityId]]:
        """Clusters of which nothing at all is heard, though several collectors watched them; and
        all that is in those of which that cannot be told yet."""
        by_cluster: dict[str, dict[EntityId, Quiet]] = {}
        for one in quiet:
            by_cluster.setdefault(split_entity_id(one.domain)[0], {})[one.domain] = one
        found: list[Quiet] = []
        waiting: frozenset[EntityId] = frozenset()
        for cluster, stopped in sorted(by_cluster.items()):
            others = {
                collector: beat
                for collector, beat in self.beats.known().items()
                if split_entity_id(collector)[0] == cluster and collector not in stopped
            }
            since = max(one.tick for one in stopped.values())
            alone = len(stopped) + len(others) < 2
            beaten = any(beat.last >= since for beat in others.values())
            if alone or beaten or voices.still_talking(cluster):
                continue
            domain = entity_id(cluster, EntityKind.CLUSTER, cluster)
            hidden = covered(domain, frame.topology) | stopped.keys() | others.keys()
            if any(
                _silence_s(frame, b) <= _OVERDUE * b.gap * frame.period_s for b in others.values()
            ):
                waiting |= hidden
                continue
            count = len(stopped) + len(others)
            detail = f"nothing is heard, of {count} collectors none"
            found.append(Quiet(domain, "cluster_quiet", since, detail, hidden))
        return found, waiting

    def _pool(self, frame: Frame, voices: Voices, pool: EntityId) -> Quiet | None:
        """A pool of which no page can be read, on two nodes at least, as its scrapers say."""
        members = frame.topology.sources(pool, RelationKind.MEMBER_OF)
        pages: list[tuple[EntityId, EntityKind]] = []
        since = -1
        for entity in members:
            for page, unread, at in self._known_pages(voices, entity):
                if not unread:
                    return None
                pages.append((entity, page))
                since = max(since, at)
        hosts = {frame.node_of(e) or e for e, _ in pages}
        if len(hosts) < 2:
            return None
        words = Counter(self._pages.outcome(*page) or "not read" for page in pages)
        said, count = max(words.items(), key=lambda pair: (pair[1], pair[0]))
        detail = f"none of its {len(pages)} pages is read; {count} of them: {said}"
        hidden = covered(pool, frame.topology)
        return Quiet(pool, "pool_quiet", since if since >= 0 else frame.tick, detail, hidden)

    def _known_pages(
        self, voices: Voices, entity: EntityId
    ) -> Iterator[tuple[EntityKind, bool, int]]:
        """The pages of an entity that a scraper ever told of: kind, whether unread, since when."""
        kind = split_entity_id(entity)[1]
        block = voices.blocks.get(kind)
        if block is None or entity not in block.row or kind not in OWN_PAGE:
            return
        row = block.row[entity]
        if np.isfinite(block.known(f"{OWN_PAGE[kind]}up")[row]):
            at = self._pages.unread_since(block, row, gpus=False)
            yield kind, bool(voices.unread[kind][row]), at
        if kind is EntityKind.NODE and np.isfinite(block.known(f"{GPU_PAGE}up")[row]):
            at = self._pages.unread_since(block, row, gpus=True)
            yield EntityKind.GPU, bool(voices.unread_gpus[row]), at

    def _watched(self, frame: Frame, collector: EntityId) -> list[EntityId]:
        """What a collector watches and a scraper has told of often enough."""
        targets = frame.topology.targets(collector, RelationKind.OBSERVES)
        return [entity for entity in targets if self._told(frame, entity) is not None]

    def _page_place(self, frame: Frame, entity: EntityId) -> EntityId | None:
        """The entity under which a scraper tells of the page that speaks of `entity`."""
        node = frame.node_of(entity)
        places = (p for p in (entity, node) if p is not None)
        return next((p for p in places if self._told(frame, p) is not None), None)

    def _told(self, frame: Frame, entity: EntityId) -> tuple[Block, int] | None:
        block = frame.blocks.get(split_entity_id(entity)[1])
        row = None if block is None else block.row.get(entity)
        if block is None or row is None or self._pages.told.times(block)[row] < HEARD_MIN:
            return None
        return block, row

    def _last(self, frame: Frame, entity: EntityId) -> int:
        """The tick in which a scraper last told of an entity that it is known to tell of."""
        told = self._told(frame, entity)
        return -1 if told is None else int(self._pages.told.last(told[0])[told[1]])

    def _overdue(self, frame: Frame, entities: Iterable[EntityId]) -> list[bool]:
        return [self._waited_s(frame, e) > _OVERDUE * self._usual_s(frame, e) for e in entities]

    def _lost(self, frame: Frame, entity: EntityId) -> bool:
        usual_s = np.array([self._usual_s(frame, entity)])
        return self._waited_s(frame, entity) > float(self._ledger.allowed_s(usual_s)[0])

    def _waited_s(self, frame: Frame, entity: EntityId) -> float:
        return (frame.tick - self._last(frame, entity)) * frame.period_s

    def _usual_s(self, frame: Frame, entity: EntityId) -> float:
        told = self._told(frame, entity)
        if told is None:
            return 0.0
        return float(self._pages.told.gap(told[0])[told[1]]) * frame.period_s

    def _beat_allowed_s(self, frame: Frame, beat: Beat) -> float:
        return float(self._ledger.allowed_s(np.array([beat.gap * frame.period_s]))[0])


def _silence_s(frame: Frame, beat: Beat) -> float:
    return (frame.tick - beat.last) * frame.period_s


def _above(frame: Frame, places: Iterable[EntityId], relation: RelationKind) -> list[EntityId]:
    """Collectors (`observes`) or pools (`member_of`) of these places, in order of id."""
    topology = frame.topology
    if relation is RelationKind.OBSERVES:
        return sorted({c for p in places for c in topology.sources(p, relation)})
    groups = {g for p in places for g in topology.targets(p, relation)}
    return sorted(g for g in groups if split_entity_id(g)[1] is EntityKind.POOL)
