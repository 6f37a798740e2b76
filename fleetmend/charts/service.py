"""Keeps the charts of incidents: begun from the last minutes when an incident opens, extended by
what arrives until it closes.

What the store holds is never replaced, so a restart costs nothing: reading begins again at the
oldest samples that were at hand, and the store leaves out what it has. Run by the pipeline beside
the console.
"""

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from fleetmend.charts.lines import Line, OwnLine, PeerLine, Rates
from fleetmend.charts.wanted import (
    CHARTS_MAX,
    charted_signals,
    charted_unit,
    peers_of,
    pool_of,
)
from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import Shape
from fleetmend.store import Points, Store, Transaction
from fleetmend.views.recent import RecentSamples, wanted_rows
from fleetmend.views.topology import TopologyView

CONSUMER = "charts"
"""Under which name the read positions are kept."""
PLACES_EVERY_S = 30.0
LIVE_MAX = 2000
"""Live incidents whose charts are extended, the newest; more at once are a storm."""
ENDED_MAX = 50
"""Newest incidents that are looked through for some that opened and ended between two looks."""
SHARE = 0.02
"""A chart is written again when so much of its length is new: the longer, the rarer."""

_LIVE = (IncidentStatus.OPEN, IncidentStatus.MITIGATED)
_PAGE = 500

Key = tuple[EntityId, str]
"""Entity (the affected one, or a pool for its peers) and signal."""


@dataclass(slots=True)
class _Watched:
    """An incident whose charts are kept."""

    id: str
    onset_s: float
    until_s: float = math.inf
    lines: dict[Key, Line] = field(default_factory=dict)
    seen: tuple[int, bool] = (0, False)
    """The version whose wishes are known, and whether a topology was at hand for its peers."""
    due_s: float = 0.0

    @property
    def ended(self) -> bool:
        return self.until_s < math.inf


class EvidenceCharts:
    """Writes the charts of live incidents; the longer a chart, the rarer it is written."""

    def __init__(
        self,
        store: Store,
        recent: RecentSamples,
        fleet: FleetFollower,
        clock: Clock,
        *,
        every_s: float = 2.0,
        before_s: float = 120.0,
    ) -> None:
        """Looks for incidents every `every_s`; a chart begins `before_s` before the onset."""
        self._store = store
        self._recent = recent
        self._fleet = fleet
        self._clock = clock
        self._every_s = every_s
        self._before_s = before_s
        self._begun = False
        self._caught_up = False
        self._due_s = 0.0
        self._places_due_s = 0.0
        self._watched: dict[str, _Watched] = {}
        self._listeners: dict[tuple[EntityId, str], list[Line]] = {}
        self._over: deque[str] = deque(maxlen=4 * ENDED_MAX)

    def step(self) -> int:
        """Take in samples; when it is time, look for incidents and write what is due. The number
        of records taken in. Raises StoreError, StreamError."""
        if not self._begun:
            with self._store.reading() as tx:
                self._recent.rewind(tx.positions.get(CONSUMER))
            self._begun = True
        count = self._recent.step()
        self._listen()
        # After a start first read what was at hand before it: charts are begun from that.
        self._caught_up = self._caught_up or not count
        if self._caught_up and self._clock.now_s() >= self._due_s:
            self._due_s = self._clock.now_s() + self._every_s
            self._look()
            self._write()
        return count

    def _listen(self) -> None:
        """Hand the samples that arrived to the lines that want them; each is decoded once."""
        if not self._listeners:
            return
        entities = {entity for entity, _ in self._listeners}
        signals = {signal for _, signal in self._listeners}
        for batch in self._recent.fresh():
            for key, found in wanted_rows(batch, entities, signals):
                rows = found[np.argsort(batch.time_s[found], kind="stable")]
                for line in self._listeners.get(key, ()):
                    line.take(key[0], (batch.time_s[rows], batch.value[rows]))

    def _look(self) -> None:
        """Watch what is new, mark what has ended."""
        with self._store.reading() as tx:
            live = {i.id: i for status in _LIVE for i in _all(tx, status)}
            gone = [tx.incidents.get(i) for i in self._watched.keys() - live.keys()]
            missed = [i for i in tx.incidents.page(limit=ENDED_MAX) if self._missed(i)]
        for ended in (*filter(None, gone), *missed):
            self._watch(ended).until_s = ended.resolved_at_s or ended.updated_at_s
        topology = self._fleet.view
        begun: list[tuple[_Watched, Key, Line]] = []
        for incident in (*live.values(), *missed):
            begun += self._begin(self._watch(incident), incident, topology)
        if begun:
            self._fill(begun)
            self._index()

    def _missed(self, incident: Incident) -> bool:
        """Whether it ended before it was ever seen, so lately that its samples are at hand."""
        return (
            incident.status not in _LIVE
            and incident.id not in self._watched
            and incident.id not in self._over
            and incident.updated_at_s > self._clock.now_s() - self._recent.keep_s
        )

    def _watch(self, incident: Incident) -> _Watched:
        fresh = _Watched(incident.id, incident.onset_s)
        return self._watched.setdefault(incident.id, fresh)

    def _begin(
        self, watched: _Watched, incident: Incident, topology: TopologyView
    ) -> list[tuple[_Watched, Key, Line]]:
        """Lines for the charts that the incident wants and does not have."""
        seen = (incident.version, bool(topology.attributes))
        if seen == watched.seen:
            return []
        watched.seen = seen
        begun: list[tuple[_Watched, Key, Line]] = []
        pairs = charted_signals(incident)
        for entity, signal in pairs:
            pool, peers = pool_of(entity, topology), peers_of(entity, topology)
            alike = {e for e, s in pairs if s == signal}
            counts = catalogue().signal(signal).shape is Shape.COUNTER
            own = OwnLine(entity, rates=Rates() if counts else None)
            wanted: dict[Key, Line] = {(entity, signal): own}
            if pool is not None and peers:
                others = [peer for peer in peers if peer not in alike]
                wanted[pool, signal] = PeerLine(others, rates=Rates() if counts else None)
            for key, line in wanted.items():
                if key not in watched.lines and len(watched.lines) < 4 * CHARTS_MAX:
                    watched.lines[key] = line
                    watched.due_s = 0.0
                    begun.append((watched, key, line))
        return begun

    def _fill(self, begun: list[tuple[_Watched, Key, Line]]) -> None:
        """Give new lines what is at hand of the time before; one pass for all of them."""
        entities = {source for _, _, line in begun for source in line.sources}
        signals = {signal for _, (_, signal), _ in begun}
        since_s = min(watched.onset_s for watched, _, _ in begun) - self._before_s
        tracks = self._recent.tracks(entities, signals, since_s=since_s)
        for watched, (_, signal), line in begun:
            for source in sorted(line.sources):
                if (source, signal) in tracks:
                    time_s, value = tracks[source, signal]
                    known = time_s >= watched.onset_s - self._before_s
                    line.take(source, (time_s[known], value[known]))

    def _index(self) -> None:
        self._listeners = {}
        for watched in self._watched.values():
            for (_, signal), line in watched.lines.items():
                for source in line.sources:
                    self._listeners.setdefault((source, signal), []).append(line)

    def _write(self) -> None:
        """Keep what is due, and how far back reading must begin after a restart."""
        now_s = self._clock.now_s()
        due = [w for w in self._watched.values() if w.ended or w.due_s <= now_s]
        told = [(w, key, line, self._points(w, line)) for w in due for key, line in w.lines.items()]
        told = [entry for entry in told if len(entry[3][0])]
        places_due = now_s >= self._places_due_s
        if told or places_due:
            with self._store.transaction() as tx:
                for watched, (entity, signal), _, points in told:
                    unit = charted_unit(catalogue().signal(signal))
                    tx.series.extend(watched.id, entity, signal, points, unit)
                if places_due:
                    tx.positions.set(CONSUMER, self._recent.oldest())
        if places_due:
            self._places_due_s = now_s + PLACES_EVERY_S
        for _, _, line, _ in told:
            line.written()
        for watched in due:
            watched.due_s = now_s + max(self._every_s, SHARE * (now_s - watched.onset_s))
        self._drop(w.id for w in due if w.ended)

    def _points(self, watched: _Watched, line: Line) -> Points:
        return line.pending(until_s=watched.until_s, last=watched.ended)

    def _drop(self, ids: Iterable[str]) -> None:
        for incident in list(ids):
            del self._watched[incident]
            self._over.append(incident)
            self._index()


def _all(tx: Transaction, status: IncidentStatus) -> list[Incident]:
    """Every incident of a status, newest first, up to LIVE_MAX."""
    found: list[Incident] = []
    while len(found) < LIVE_MAX:
        after = found[-1].id if found else None
        page = tx.incidents.page(status=status, after=after, limit=_PAGE)
        found += page
        if len(page) < _PAGE:
            break
    return found
