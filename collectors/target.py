"""One scraped target: it turns each page into samples, topology changes and a scrape event.

`collectors.prometheus` asks it when it is due. Nothing is judged: that the page could not be read
is a sample (`..._scrape_up` 0) and an event, that a series is missing is a number in the event.
"""

from dataclasses import dataclass, replace

import numpy as np

from collectors.batches import merge_batches
from collectors.exposition import Exposition, Page
from collectors.fetch import Fetched, Outcome, Refusal
from collectors.naming import Names, Resolve, pod_alias
from collectors.normalise import Normaliser, Observation
from collectors.series import Reading
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
    kind_of,
)
from fleetmend.model.events import Event, EventType, event_id
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.settings.collectors import CollectorsSettings, TargetSettings
from fleetmend.signals.catalogue import Catalogue

_OWN = {"engine": "engine.scrape_", "node": "node.scrape_", "gpu": "node.gpu_scrape_"}
"""What the figures of a scrape itself are called: this, then `up`, `time`, `age`, `unchanged`."""
_SILENT = frozenset({Outcome.REFUSED, Outcome.UNREACHABLE})
"""Outcomes after which asking again at once is of no use."""
_PAYLOAD_MAX = 4096
_LETTERS_MAX = 20
"""Bad lines of one page that are kept; all are counted."""


@dataclass(frozen=True, slots=True)
class Scrape:
    """What one scrape gave."""

    at_s: float
    node: str
    """Where it belongs in the log."""
    outcome: Outcome
    batch: SampleBatch
    changes: tuple[TopologyChange, ...]
    event: Event | None
    """None when everything is as it was."""
    letters: tuple[DeadLetter, ...]


def engine_entity(cluster: str, target: TargetSettings) -> EntityId | None:
    """The engine that a target speaks of."""
    return entity_id(cluster, EntityKind.ENGINE, target.engine) if target.engine else None


def engines_by_pod(cluster: str, targets: tuple[TargetSettings, ...]) -> dict[str, EntityId]:
    """Engines by pod alias, from the targets that say which pod is theirs."""
    found = {}
    for target in targets:
        engine = engine_entity(cluster, target)
        namespace, _, pod = target.pod.partition("/")
        if engine is not None and pod:
            found[pod_alias(namespace, pod)] = engine
    return found


_ENGINE_MAY_NAME = frozenset({EntityKind.ENGINE, EntityKind.MODEL})


class Target:
    """One page and what is remembered of it between scrapes."""

    def __init__(
        self,
        settings: TargetSettings,
        limits: CollectorsSettings,
        *,
        cluster: str,
        catalogue: Catalogue,
        resolve: Resolve,
    ) -> None:
        engine = engine_entity(cluster, settings)
        self.settings = settings
        self.subject = engine or entity_id(cluster, EntityKind.NODE, settings.node)
        self._limits = limits
        self._exposition = Exposition(series_max=limits.series_max)
        self._normaliser = Normaliser(
            Names(
                cluster=cluster,
                node=settings.node,
                engine=engine,
                resolve=resolve,
                names_max=limits.names_max,
            ),
            catalogue,
            known=() if engine is None else (engine,),
            stale_after_s=limits.stale_after_s,
        )
        self._failures = 0
        self._last: Reading | None = None
        self._read_s: float | None = None
        """When the page was last read."""
        self._moved_s: float | None = None
        """When a figure on it last changed."""
        self._last_word = ""
        self._last_event_s = float("-inf")
        self._last_bad: tuple[str, ...] = ()

    @property
    def pause_s(self) -> float:
        """Seconds until the next try: the interval, and longer while nobody answers."""
        interval_s = self.settings.interval_s
        if self._failures == 0:
            return interval_s
        longest_s = max(interval_s, self._limits.backoff_max_s)
        doubled_s: float = interval_s * 2.0 ** min(self._failures - 1, 16)
        return min(doubled_s, longest_s)

    def read(self, fetched: Fetched, at_s: float, *, late_s: float = 0.0) -> Scrape:
        """Read what was fetched; `at_s` is the event time of everything that it says, `late_s` how
        long after its time the scrape began."""
        page, outcome = None, fetched.outcome
        if outcome is Outcome.OK:
            try:
                page = self._exposition.parse(fetched.text(self._limits.body_bytes_max))
            except Refusal as refusal:
                outcome = refusal.outcome
            else:
                if len(page.reading.series) == 0:
                    outcome = Outcome.UNREADABLE if page.bad else Outcome.EMPTY
        fetched = replace(fetched, outcome=outcome, body=b"")
        self._failures = self._failures + 1 if outcome in _SILENT else 0
        seen = None
        if page is not None and outcome is Outcome.OK:
            seen = self._within_its_rights(self._normaliser.observe(page.reading, at_s))
            self._read_s = at_s
            if seen.moved is not None and (seen.moved or self._moved_s is None):
                self._moved_s = at_s
        own = self._own(outcome, fetched, at_s)
        return Scrape(
            at_s=at_s,
            node=self.settings.node or self.settings.engine,
            outcome=outcome,
            batch=own if seen is None else merge_batches([seen.batch, own]),
            changes=() if seen is None else seen.changes,
            event=self._event(fetched, page, seen, at_s=at_s, late_s=late_s),
            letters=self._letters(page, at_s),
        )

    def _within_its_rights(self, seen: Observation) -> Observation:
        """An engine's page is written by whoever runs the engine: it may speak of that engine and
        its model, never of a GPU, a node or who runs where."""
        if self.settings.kind != "engine":
            return seen
        spoken = [kind_of(EntityId(entity)) in _ENGINE_MAY_NAME for entity in seen.batch.entities]
        batch = seen.batch.select(np.array(spoken, np.bool_)[seen.batch.entity])
        changes = tuple(
            change
            for change in seen.changes
            if kind_of(change.entity) in _ENGINE_MAY_NAME
            and change.op is not TopologyOp.ALIAS
            and change.relation is not RelationKind.RUNS_ON
        )
        return replace(seen, batch=batch, changes=changes)

    def _own(self, outcome: Outcome, fetched: Fetched, at_s: float) -> SampleBatch:
        """The figures of the scrape itself. What they mean, a page that stands still above all, is
        for others to say: an idle engine stands still too."""
        figures = {"up": 1.0 if outcome is Outcome.OK else 0.0, "time": fetched.duration_s}
        if self._read_s is not None:
            figures["age"] = at_s - self._read_s
        if self._moved_s is not None:
            figures["unchanged"] = at_s - self._moved_s
        stem = _OWN[self.settings.kind]
        return SampleBatch.from_rows(
            [(at_s, self.subject, stem + name, value) for name, value in figures.items()]
        )

    def _event(
        self,
        fetched: Fetched,
        page: Page | None,
        seen: Observation | None,
        *,
        at_s: float,
        late_s: float,
    ) -> Event | None:
        gone = self._gone(page) if seen is not None else 0
        bad = 0 if page is None else len(page.bad)
        refused = {} if seen is None else seen.dropped.refused
        word = f"{fetched.word} {' '.join(refused)}"
        same = word == self._last_word and not gone and not bad
        if same and at_s - self._last_event_s < self._limits.scrape_event_s:
            return None
        self._last_word, self._last_event_s = word, at_s
        source = f"collector/prometheus/{self.settings.url}"
        data: dict[str, str | int | float | bool] = {
            "target": self.settings.url,
            "kind": self.settings.kind,
            "outcome": fetched.word,
            "duration_s": fetched.duration_s,
            "late_s": late_s,
            "series": 0 if page is None else len(page.reading.series),
            "samples": 0 if seen is None else len(seen.batch),
            "series_gone": gone,
            "bad_lines": bad,
            "refused_lines": 0 if page is None else page.refused,
        }
        if seen is not None:
            dropped = seen.dropped
            data["blank"], data["not_finite"] = dropped.blank, dropped.not_finite
            data["stale"], data["homeless"] = dropped.stale, dropped.homeless
            data["unknown"] = sum(dropped.unknown.values())
            data["refused_names"] = sum(refused.values())
            data["refused_kinds"] = " ".join(refused)
        return Event(
            id=event_id(source, repr(at_s)),
            source=source,
            type=EventType.SCRAPE,
            time_s=at_s,
            subject=self.subject,
            node=self.settings.node or self.settings.engine,
            data=data,
        )

    def _gone(self, page: Page | None) -> int:
        """Series of the last page that this one lacks."""
        if page is None:
            return 0
        before, self._last = self._last, page.reading
        if before is None or before.table is not page.reading.table:
            return 0
        if np.array_equal(before.series, page.reading.series):
            return 0
        return len(np.setdiff1d(before.series, page.reading.series))

    def _letters(self, page: Page | None, at_s: float) -> tuple[DeadLetter, ...]:
        """The lines that nobody could read, once for as long as they stay the same."""
        bad = () if page is None else page.bad
        texts = tuple(line.text for line in bad)
        if texts == self._last_bad:
            return ()
        self._last_bad = texts
        return tuple(
            DeadLetter(
                at_s,
                "scrape",
                f"{self.settings.url} line {line.number}",
                line.error,
                line.text.encode()[:_PAYLOAD_MAX],
            )
            for line in bad[:_LETTERS_MAX]
        )
