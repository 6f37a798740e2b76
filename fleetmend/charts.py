"""Evidence charts: what the signals named by an incident did, kept with it in the store.

So an old incident still shows its evidence when the log has forgotten the samples. Runs beside the
stages as a service of the pipeline; it decides nothing.
"""

from collections.abc import Sequence

import numpy as np

from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.signals.catalogue import catalogue
from fleetmend.store import Store
from fleetmend.views.recent import RecentSamples, Track
from fleetmend.views.topology import TopologyView

CHARTS_MAX = 6
PEERS_MAX = 32
POINTS_MAX = 300


class EvidenceCharts:
    """Refreshes the charts of open incidents every few seconds."""

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
        self._store = store
        self._recent = recent
        self._fleet = fleet
        self._clock = clock
        self._every_s = every_s
        self._before_s = before_s
        self._due_s = 0.0

    def step(self) -> int:
        """Take in samples; when it is time, rewrite the charts. The number of charts written."""
        self._recent.step()
        if self._clock.now_s() < self._due_s:
            return 0
        self._due_s = self._clock.now_s() + self._every_s
        with self._store.reading() as tx:
            open_incidents = tx.incidents.page(status=IncidentStatus.OPEN)
        return sum(self._draw(incident) for incident in open_incidents)

    def _draw(self, incident: Incident) -> int:
        wanted = charted_signals(incident)
        if not wanted:
            return 0
        topology = self._fleet.view
        peers = {entity: peers_of(entity, topology) for entity, _ in wanted}
        everybody = {e for e, _ in wanted} | {p for group in peers.values() for p in group}
        signals = {signal for _, signal in wanted}
        since_s = incident.onset_s - self._before_s
        tracks = self._recent.tracks(everybody, signals, since_s=since_s)
        written = 0
        with self._store.transaction() as tx:
            for entity, signal in wanted:
                lines = {entity: tracks.get((entity, signal))}
                pool = pool_of(entity, topology)
                among = [tracks[p, signal] for p in peers[entity] if (p, signal) in tracks]
                if pool is not None and among:
                    lines[pool] = median_track(among)
                unit = catalogue().signal(signal).unit
                for line, track in lines.items():
                    if track is not None:
                        times, values = thinned(track)
                        tx.series.put(
                            incident.id, line, signal, times.tolist(), values.tolist(), unit
                        )
                        written += 1
        return written


def charted_signals(incident: Incident) -> list[tuple[EntityId, str]]:
    """The (entity, signal) pairs that the incident's evidence speaks of, strongest first."""
    known = catalogue().signals
    pairs: dict[tuple[EntityId, str], None] = {}
    for piece in incident.evidence:
        if piece.symptom in known:
            pairs[piece.entity, piece.symptom] = None
    return list(pairs)[:CHARTS_MAX]


def pool_of(entity: EntityId, topology: TopologyView) -> EntityId | None:
    """The pool of an entity, or of the node that it is part of."""
    node = topology.ancestor(entity, EntityKind.NODE)
    for member in (entity, node):
        groups = topology.targets(member, RelationKind.MEMBER_OF) if member is not None else ()
        for group in groups:
            if kind_of(group) is EntityKind.POOL:
                return group
    return None


def peers_of(entity: EntityId, topology: TopologyView) -> tuple[EntityId, ...]:
    """Entities of the same kind in the same pool, without itself; a bounded, stable choice."""
    pool = pool_of(entity, topology)
    if pool is None:
        return ()
    members = topology.sources(pool, RelationKind.MEMBER_OF)
    parts = (part for m in members for part in topology.sources(m, RelationKind.PART_OF))
    same = {e for e in (*members, *parts) if kind_of(e) is kind_of(entity)} - {entity}
    chosen = sorted(same)
    return tuple(chosen[:: max(1, len(chosen) // PEERS_MAX)][:PEERS_MAX])


def median_track(tracks: Sequence[Track]) -> Track:
    """The median over tracks in each second in which any was heard."""
    time_s = np.concatenate([t for t, _ in tracks])
    value = np.concatenate([v for _, v in tracks])
    seconds = np.floor(time_s)
    moments = np.unique(seconds)
    medians = np.array([np.median(value[seconds == moment]) for moment in moments])
    return moments, medians


def thinned(track: Track) -> Track:
    """At most POINTS_MAX points, evenly chosen, the newest always among them."""
    time_s, value = track
    if len(time_s) <= POINTS_MAX:
        return track
    chosen = np.unique(np.linspace(0, len(time_s) - 1, POINTS_MAX).astype(np.intp))
    return time_s[chosen], value[chosen]
