"""One scraped target: it turns each page into samples, topology changes and a scrape event.

`collectors.prometheus` asks it when it is due. Nothing is judged: that the page could not be read
is a sample (`..._scrape_up` 0) and an event, that a series is missing is a number in the event.
"""

from dataclasses import dataclass, replace

import numpy as np

from collectors.batches import Joiner
from collectors.declared import Declarations, family_of
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
_WELL = 6
"""How many times more seldom is told that all is well as before: thousands of targets say so."""
_SILENT = frozenset(
    {
        Outcome.REFUSED,
        Outcome.UNREACHABLE,
        Outcome.TLS,
        Outcome.PROTOCOL,
        Outcome.REDIRECT,
        Outcome.OVERSIZE,
    }
)
"""Outcomes after which asking again at once is of no use."""
_PAYLOAD_MAX = 4096
_NAMED_MAX = 5
"""Metrics of a page that an event names."""
_ERROR_MAX = 120
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


@dataclass(frozen=True, slots=True)
class _Doubts:
    """Families of a page whose figures cannot be compared with those before."""

    retyped: frozenset[str] = frozenset()
    """Of another type than on the page before: their figures are left out once, so that growth
    begins anew."""
    other_unit: frozenset[str] = frozenset()
    """Of another unit than at first: their figures are left out for as long."""

    def without(self, reading: Reading) -> Reading:
        """The reading without their figures."""
        families = self.retyped | self.other_unit
        if not families:
            return reading
        names = (reading.table[number].name for number in reading.series.tolist())
        doubtful = np.array([bool(family_of(name, families)) for name in names], np.bool_)
        return replace(reading, value=np.where(doubtful, np.nan, reading.value))


def _why_unreadable(page: Page | None) -> str:
    """Why nothing on a page could be read, for people: its first bad line, or its packing."""
    if page is None or not page.bad:
        return "its packing is broken"
    return f"line {page.bad[0].number}: {page.bad[0].error}"[:_ERROR_MAX]


def _few(names: frozenset[str]) -> str:
    """Some of the names, for people."""
    return " ".join(sorted(names)[:_NAMED_MAX])


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
        self._declarations = Declarations()
        self._joiner = Joiner()
        self.text_bytes = 0
        """Size of the page that was read last, unpacked."""
        self._failures = 0
        self._last: Reading | None = None
        self._read_s: float | None = None
        """When the page was last read."""
        self._moved_s: float | None = None
        """When a figure on it last changed."""
        self._last_word = ""
        self._last_event_s = float("-inf")
        self._last_bad = hash(())

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
        page, outcome = self._page(fetched)
        fetched = replace(fetched, outcome=outcome, body=b"")
        self._failures = self._failures + 1 if outcome in _SILENT else 0
        seen, doubts = None, _Doubts()
        if page is not None and outcome is Outcome.OK:
            doubts = _Doubts(*self._declarations.compare(page.declared))
            reading = doubts.without(page.reading)
            seen = self._within_its_rights(self._normaliser.observe(reading, at_s))
            self._read_s = at_s
            if seen.moved is not None and (seen.moved or self._moved_s is None):
                self._moved_s = at_s
        own = self._own(outcome, fetched, at_s)
        return Scrape(
            at_s=at_s,
            node=self.settings.node or self.settings.engine,
            outcome=outcome,
            batch=own if seen is None else self._joiner.join(seen.batch, own),
            changes=() if seen is None else seen.changes,
            event=self._event(fetched, page, seen, doubts=doubts, at_s=at_s, late_s=late_s),
            letters=self._letters(page, at_s),
        )

    def _page(self, fetched: Fetched) -> tuple[Page | None, Outcome]:
        """What was fetched as a page, and what has become of the scrape by then."""
        if fetched.outcome is not Outcome.OK:
            return None, fetched.outcome
        try:
            text = fetched.text(self._limits.body_bytes_max)
        except Refusal as refusal:
            return None, refusal.outcome
        self.text_bytes = len(text)
        page = self._exposition.parse(text)
        if len(page.reading.series):
            return page, Outcome.OK
        return page, Outcome.UNREADABLE if page.bad else Outcome.EMPTY

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
        doubts: _Doubts,
        at_s: float,
        late_s: float,
    ) -> Event | None:
        gone = self._gone(page) if seen is not None else 0
        bad = 0 if page is None else page.bad_count
        refused = {} if seen is None else seen.dropped.refused
        word = f"{fetched.word} {' '.join(refused)} {_few(doubts.other_unit)}"
        same = word == self._last_word and not gone and not bad and not doubts.retyped
        well = _WELL if fetched.outcome is Outcome.OK else 1
        if same and 0 <= at_s - self._last_event_s < well * self._limits.scrape_event_s:
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
        if fetched.outcome is Outcome.UNREADABLE:
            data["error"] = _why_unreadable(page)
        if seen is not None:
            dropped = seen.dropped
            data["blank"], data["not_finite"] = dropped.blank, dropped.not_finite
            data["stale"], data["homeless"] = dropped.stale, dropped.homeless
            data["repeated"] = dropped.repeated
            data["unknown"] = sum(dropped.unknown.values())
            data["refused_names"] = sum(refused.values())
            data["refused_kinds"] = " ".join(refused)
            data["retyped"], data["retyped_names"] = len(doubts.retyped), _few(doubts.retyped)
            data["other_unit"] = len(doubts.other_unit)
            data["other_unit_names"] = _few(doubts.other_unit)
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
        series = page.reading.series
        if before.series is series or np.array_equal(before.series, series):
            return 0
        return len(np.setdiff1d(before.series, series))

    def _letters(self, page: Page | None, at_s: float) -> tuple[DeadLetter, ...]:
        """The lines that nobody could read, once for as long as they stay the same."""
        bad = () if page is None else page.bad
        texts = hash(tuple(line.text for line in bad))
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
