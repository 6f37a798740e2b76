"""What scrapers say about the pages that they read: whether, how they failed, whether they move.

That voice is the scraper's own: while it says that a page cannot be read, the scraper lives. Called
by `coverage.py` and `domains.py`, once a tick.
"""

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.hearing import Hearing, learnt_gap, scrape_columns
from detection.ledger import idle
from detection.robust import Floats
from detection.saved import join, part
from detection.streaks import Streaks
from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.model.events import Event, EventType
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import Json, State

Flags = NDArray[np.bool_]

OWN_PAGE = {EntityKind.ENGINE: "engine.scrape_", EntityKind.NODE: "node.scrape_"}
"""By kind of entity, what the figures of the scrape of its own page begin with."""
GPU_PAGE = "node.gpu_scrape_"
"""The same for the GPU exporter of a node, whose page speaks of the GPUs."""

_FAILED_MIN = 3
"""Scrapes in a row that failed, as events tell, after which a page counts as unread."""
_STILL_TIMES = 3.0
"""How much longer than ever a page must stand still: exporters refresh at their own pace."""
_MOVES_MIN = 5
"""Times that a page must have moved before its standing still means anything."""
_WORDS = {
    "refused": "connection refused",
    "unreachable": "unreachable",
    "timeout": "timeout",
    "redirect": "redirected, and not followed",
    "oversize": "page too large",
    "empty": "page empty",
    "unreadable": "page unreadable",
    "tls": "bad TLS",
    "protocol": "answers no HTTP",
}
"""Outcomes of `collectors.fetch` for people; `http_503` is told as `HTTP 503`."""
_OF_DRIVERS = frozenset({"partial", "library_absent", "driver_absent", "no_gpu"})
"""Outcomes that no page has: agents up to 0.1 told of the driver's library as of a GPU's page."""
_PAGES = frozenset({*OWN_PAGE, EntityKind.GPU})
"""Scrape events of another kind (`nvml`, `kernel_log`, `otlp`) speak of what is no page: half an
answer of the driver is no exporter that is down."""
_OUTCOME_MAX = 120
_COUNTS = TypeAdapter(dict[str, int])
_TEXTS = TypeAdapter(dict[str, str])


class Pages:
    """The last outcome of each page, and how long pages usually stand still."""

    def __init__(self, settings: DetectionSettings) -> None:
        self._frozen_after_s = settings.frozen_after_s
        self.told = Hearing(scrape_columns)
        """When a scraper last said anything about the pages of an entity."""
        self._unread = Streaks(need=2, of=3)
        self._unread_gpus = Streaks(need=2, of=3)
        self._own_still = _stillness()
        self._gpu_still = _stillness()
        self._failed: dict[str, int] = {}
        """Scrapes in a row that failed, by subject and kind of page."""
        self._outcomes: dict[str, str] = {}
        """What became of the last one, for people; nothing where it went well."""

    def update(self, frame: Frame) -> None:
        """Take in one tick."""
        for entity in frame.gone:
            for key in (_key(entity, kind.value) for kind in EntityKind):
                self._failed.pop(key, None)
                self._outcomes.pop(key, None)
        self.told.update(frame.blocks, frame.jumped)
        for event in frame.events:
            if event.type is EventType.SCRAPE:
                self._note(event)

    def unread(self, block: Block, kind: EntityKind) -> Flags:
        """Rows whose own page could not be read, as the scraper itself says. Once a tick."""
        stem = OWN_PAGE.get(kind)
        if stem is None:
            return np.zeros(block.shape[0], bool)
        up = block.now(f"{stem}up")
        unread = self._unread.feed(block, up == 0, np.isfinite(up))
        return unread | self._failing(block, kind.value)

    def unread_gpus(self, block: Block) -> Flags:
        """Nodes whose GPU exporter's page could not be read. Once a tick."""
        up = block.now(f"{GPU_PAGE}up")
        unread = self._unread_gpus.feed(block, up == 0, np.isfinite(up))
        return unread | self._failing(block, EntityKind.GPU.value)

    def unread_since(self, block: Block, row: int, *, gpus: bool) -> int:
        """The tick in which the present failure of a page began, -1 where only events tell."""
        return (self._unread_gpus if gpus else self._unread).since(block, row)

    def still_s(self, frame: Frame, block: Block, kind: EntityKind) -> Floats:
        """For how long the own page of each row has stood still beyond what is usual for it,
        (rows,); 0 where that says nothing. Once a tick."""
        stem = OWN_PAGE.get(kind)
        if stem is None:
            return np.zeros(block.shape[0])
        return self._beyond_usual(frame, block, f"{stem}unchanged", self._own_still)

    def gpus_still_s(self, frame: Frame, block: Block) -> Floats:
        """The same for the page of each node's GPU exporter. Once a tick."""
        return self._beyond_usual(frame, block, f"{GPU_PAGE}unchanged", self._gpu_still)

    def outcome(self, entity: EntityId, page: EntityKind) -> str:
        """What became of the last scrape of a page of `entity`, for people; empty where it went
        well or nobody said."""
        return self._outcomes.get(_key(entity, page.value), "")

    def failing(self, page: EntityKind) -> Iterator[tuple[EntityId, str]]:
        """Every page of this kind whose last scrape failed: its subject, and what became of it."""
        for key, said in self._outcomes.items():
            entity, _, kind = key.partition(" ")
            if kind == page.value:
                yield EntityId(entity), said

    def _beyond_usual(self, frame: Frame, block: Block, signal: str, of: Cells) -> Floats:
        """Learn how long a page stands still between two moves, and tell who stands longer."""
        cells = of.of(block)
        usual_s = self.told.gap(block) * frame.period_s
        age_s = block.age(signal) * frame.period_s
        told = np.where(age_s <= 3.0 * usual_s + frame.period_s, block.known(signal), np.nan)
        now = block.now(signal)
        moved = now <= cells["before"]
        # An engine without work stands still for as long as it likes: nothing is learnt from that.
        learn = moved & ~cells["idled"]
        seen, known = cells["before"][learn], np.maximum(cells["longest"][learn], frame.period_s)
        cells["longest"][learn] = learnt_gap(seen, known)
        cells["moves"][moved] += 1
        cells["idled"][moved] = False
        cells["idled"] |= idle(block)
        cells["before"][:] = np.where(np.isfinite(now), now, cells["before"])
        least_s = np.maximum(self._frozen_after_s, _STILL_TIMES * cells["longest"])
        beyond = ~cells["idled"] & (cells["moves"] >= _MOVES_MIN) & (told >= least_s)
        return np.where(beyond, np.nan_to_num(told), 0.0)

    def _failing(self, block: Block, page: str) -> Flags:
        flags = np.zeros(block.shape[0], bool)
        for key, count in self._failed.items():
            entity, _, kind = key.partition(" ")
            if count >= _FAILED_MIN and kind == page and entity in block.row:
                flags[block.row[EntityId(entity)]] = True
        return flags

    def _note(self, event: Event) -> None:
        page = str(event.data.get("kind") or kind_of(event.subject))
        if page not in _PAGES:
            return
        key, word = _key(event.subject, page), str(event.data.get("outcome", "ok"))
        if word == "ok":
            self._failed.pop(key, None)
            self._outcomes.pop(key, None)
            return
        if word in _OF_DRIVERS:
            return
        said = _WORDS.get(word, re.sub(r"^http_", "HTTP ", word))
        self._failed[key] = self._failed.get(key, 0) + 1
        error = str(event.data.get("error", ""))
        self._outcomes[key] = (f"{said}: {error}" if error else said)[:_OUTCOME_MAX]

    def snapshot(self) -> State:
        """What is remembered."""
        parts = {
            "told": self.told.snapshot(),
            "unread": self._unread.snapshot(),
            "unread_gpus": self._unread_gpus.snapshot(),
            "own_still": self._own_still.snapshot(),
            "gpu_still": self._gpu_still.snapshot(),
        }
        failed: dict[str, Json] = dict(sorted(self._failed.items()))
        outcomes: dict[str, Json] = dict(sorted(self._outcomes.items()))
        return {**join(parts), "failed_pages": failed, "page_outcomes": outcomes}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self.told.restore(part(state, "told"))
        self._unread.restore(part(state, "unread"))
        self._unread_gpus.restore(part(state, "unread_gpus"))
        self._own_still.restore(part(state, "own_still"))
        self._gpu_still.restore(part(state, "gpu_still"))
        self._failed = _COUNTS.validate_python(state.get("failed_pages", {}))
        self._outcomes = _TEXTS.validate_python(state.get("page_outcomes", {}))


def _stillness() -> Cells:
    """`longest` (s) that a page stood still between two moves, how often it has moved, for how long
    it had stood at the last look, and whether its engine had nothing to do meanwhile."""
    return Cells(per_signal=False, longest=0.0, moves=0, before=np.nan, idled=False)


def _key(entity: EntityId, page: str) -> str:
    return f"{entity} {page}"
