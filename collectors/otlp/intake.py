"""From messages to the log: rights, time, normalising; the doors call it, the loop sends.

A door's thread calls `metrics` or `logs` and answers its sender with what was refused. What came
out waits in a bounded queue for the one thread that uses the sink. A point is late when it is older
than the last mark may be; both are decided under one lock, so no promise is broken. Messages are
read one after the other under a lock of their own: a dear one keeps nobody from marking.
"""

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial

import numpy as np

from collectors.announce import observed
from collectors.batches import merge_batches
from collectors.follow import RateCap
from collectors.naming import Names, Resolve, node_label
from collectors.normalise import Normaliser, Observation
from collectors.otlp.decoder import Decoder
from collectors.otlp.log_reader import LogReader
from collectors.otlp.points import Points
from collectors.otlp.rights import NodeOf, Rights
from collectors.otlp.source import NS, Counts, Source
from collectors.otlp.tallies import Tallies
from collectors.otlp.thumbs import Thumbs
from collectors.promise import Promise
from collectors.sink import Sink
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.deadletters import DeadLetter, DeadLetters
from fleetmend.settings.collectors import CollectorsSettings
from fleetmend.signals.catalogue import Catalogue
from fleetmend.signals.identities import with_identities

_MARK_S = 0.2
_PAYLOAD_MAX = 4096
_LETTERS_PER_MINUTE = 20
_TOLD_OF_LOGS = {"events_capped": "too many events of one kind", "lines": "too many lines"}


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a message."""

    rejected: int = 0
    """Points or records that were not taken."""
    why: str = ""


class Full(Exception):
    """Too much waits for the log, or the fleet is not known yet: the sender should come again."""


class Intake:
    """One per process."""

    def __init__(
        self,
        settings: CollectorsSettings,
        *,
        cluster: str,
        sink: Sink,
        clock: Clock,
        dead_letters: DeadLetters,
        signals: Catalogue,
        resolve: Resolve,
        node_of: NodeOf,
        fleet_known: Callable[[], bool] = lambda: True,
    ) -> None:
        """`resolve`: the entity that an alias or id means; `node_of`: where something is;
        `fleet_known`: whether these two have once known all that the log held. Rights are judged
        by them, so nothing is taken before."""
        self._settings, self._limits = settings.otlp, settings
        self._cluster, self._sink, self._clock = cluster, sink, clock
        self._dead_letters, self._signals, self._resolve = dead_letters, signals, resolve
        self.senders = {
            sender.name: Rights(sender, cluster, node_of) for sender in settings.otlp.senders
        }
        self._fleet_known = fleet_known
        self._lock = threading.Lock()
        """Of what waits, what is told and what was promised: never held while a message is read."""
        self._reading = threading.Lock()
        """Of the decoder, the resources and the log lines seen."""
        self._decoder = Decoder()
        self._thumbs = Thumbs(cluster=cluster, names_max=settings.names_max)
        self._sources: OrderedDict[tuple[str, tuple[tuple[str, str], ...]], Source] = OrderedDict()
        self._waiting: deque[deque[Callable[[], None]]] = deque()
        """What messages gave: for each, what is still to be handed to the sink."""
        self._tallies = Tallies(self.senders, every_s=settings.scrape_event_s)
        self._logs = LogReader(
            cluster=cluster,
            resolve=resolve,
            events_per_minute_max=settings.events_per_minute_max,
        )
        self._letters = RateCap(per_minute_max=_LETTERS_PER_MINUTE)
        self._promise = Promise(clock, cluster=cluster, name="otlp", tell=self._note)
        self.strangers: Counter[str] = Counter()
        """Requests refused before anybody knew whose they were, by reason."""

    def refuse(self, sender: str, reason: str, *, payload: bytes = b"") -> None:
        """Count a request that a door could not take; `sender` is empty when nobody knows whose.
        What could not be read is kept, a few a minute: a flood must not fill the store."""
        at_s = self._clock.now_s()
        with self._lock:
            tally = self._tallies.get(sender)
            (self.strangers if tally is None else tally.refused)[reason] += 1
            kept = bool(payload) and self._letters.admit(sender, at_s)
        if kept:
            payload = payload[:_PAYLOAD_MAX]
            self._dead_letters.put(DeadLetter(at_s, "otlp", sender, reason, payload))

    def metrics(self, sender: str, body: bytes) -> Taken:
        """Take a metrics message. Raises BadInput for what is none, Full."""
        with self._lock:
            self._room()
        with self._reading:
            return self._take(self.senders[sender], self._decoder.decode(body))

    def logs(self, sender: str, body: bytes) -> Taken:
        """Take a logs message. Raises BadInput, Full."""
        with self._lock:
            self._room()
            now_s = self._clock.now_s()
            floor_s = self._floor_s(now_s)
        rights = self.senders[sender]
        with self._reading:
            events, refused = self._logs.read(rights, body, floor_s=floor_s, now_s=now_s)
        with self._lock:
            floor_s = self._floor_s(now_s)
            for event in events:
                self._note(replace(event, time_s=max(event.time_s, floor_s)))
            tally = self._tallies[sender]
            tally.messages += 1
            tally.refused.update(refused)
        told_of = {name: n for name, n in refused.items() if name in _TOLD_OF_LOGS}
        return Taken(
            sum(told_of.values()), ", ".join(_TOLD_OF_LOGS[name] for name in sorted(told_of))
        )

    def feedback(self, sender: str, body: bytes) -> Taken:
        """Take thumbs of people, as JSON. Raises BadInput, Full."""
        with self._lock:
            self._room()
            tally = self._tallies[sender]
            taken, refused = self._thumbs.take(self.senders[sender], body)
            tally.messages += 1
            tally.points += taken + sum(refused.values())
            tally.refused.update(refused)
            why = " ".join(f"{n}={refused[n]}" for n in sorted(refused))
            return Taken(sum(refused.values()), why)

    @property
    def remembered(self) -> int:
        """Resources that are remembered between messages."""
        return len(self._sources)

    def announce(self) -> None:
        """State who is listened to."""
        subjects = [rights.subject for rights in self.senders.values()]
        for change in observed(self._cluster, "otlp", subjects, self._clock.now_s()):
            self._sink.topology(change)

    def poll(self) -> None:
        """Send what waits, tell of each sender now and then, and mark."""
        with self._lock:
            now_s = self._clock.now_s()
            mark_s = self._floor_s(now_s)
            for name in self.senders:
                event = self._tallies.event(name, now_s)
                if event is not None:
                    self._note(event)
            thumbs = self._thumbs.batch(now_s)
            if thumbs is not None:
                self._waiting.append(self._sending([], {"feedback": thumbs}))
            upto = len(self._waiting)
            due = mark_s - self._promise.marked_s >= _MARK_S
            if due:
                self._promise.marked_s = mark_s
        for _ in range(upto):
            calls = self._waiting[0]
            while calls:
                # Gone before it is called: a sink that raises keeps what it was given.
                calls.popleft()()
            self._waiting.popleft()
        if due:
            self._sink.mark(mark_s)

    def _floor_s(self, now_s: float) -> float:
        """The oldest time that is taken: a clock set back must not break the last promise."""
        self._promise.now_s()
        return max(now_s - self._settings.lateness_s, self._promise.marked_s)

    def _note(self, event: Event) -> None:
        self._waiting.append(deque([partial(self._sink.event, event)]))

    def _room(self) -> None:
        if len(self._waiting) >= self._settings.waiting_max or not self._fleet_known():
            raise Full

    def _take(self, rights: Rights, points: Points) -> Taken:
        now_s = self._clock.now_s()
        with self._lock:
            floor_s = self._floor_s(now_s)
        counts, refused = Counts(), Counter[str]()
        changes: list[TopologyChange] = []
        batches: dict[str, list[SampleBatch]] = {}
        for at, (resource, rows, histograms) in enumerate(_by_resource(points)):
            if at >= self._settings.resources_max:
                refused["resources"] += len(rows) + len(histograms)
                continue
            attributes = points.tables.resources[resource]
            source = self._source(rights, attributes)
            for time_ns, reading in source.readings(points, rows, histograms, counts):
                time_s = time_ns / NS if time_ns else now_s
                if time_s < floor_s or time_s > now_s + self._settings.future_s:
                    refused["late" if time_s < floor_s else "future"] += len(reading.series)
                    continue
                seen = _within(rights, source.normaliser.observe(reading, time_s), refused)
                changes += seen.changes
                batches.setdefault(_place(rights, attributes), []).append(seen.batch)
        merged = {node: merge_batches(found) for node, found in batches.items()}
        refused.update({name: n for name, n in asdict(counts).items() if n})
        with self._lock:
            # A mark may have been set while the message was read.
            floor_s = self._floor_s(now_s)
            for node, batch in merged.items():
                late = batch.time_s < floor_s
                if late.any():
                    refused["late"] += int(late.sum())
                    merged[node] = batch.select(~late)
            self._waiting.append(self._sending(changes, merged))
            tally = self._tallies[rights.settings.name]
            tally.messages += 1
            tally.points += len(points)
            tally.samples += sum(map(len, merged.values()))
            tally.refused.update(refused)
        told = {name: n for name, n in refused.items() if name != "no_value"}
        return Taken(sum(told.values()), " ".join(f"{n}={told[n]}" for n in sorted(told)))

    def _sending(
        self, changes: list[TopologyChange], batches: Mapping[str, SampleBatch]
    ) -> deque[Callable[[], None]]:
        calls: deque[Callable[[], None]] = deque(
            partial(self._sink.topology, change) for change in changes
        )
        calls.extend(
            partial(self._sink.samples, batch, node)
            for node, batch in batches.items()
            if len(batch)
        )
        return calls

    def _source(self, rights: Rights, attributes: Mapping[str, str]) -> Source:
        key = rights.settings.name, tuple(sorted(attributes.items()))
        source = self._sources.get(key)
        if source is not None:
            self._sources.move_to_end(key)
            return source
        engine = rights.engine_in(attributes, self._resolve)
        names = Names(
            cluster=self._cluster,
            node=rights.settings.node,
            engine=engine,
            resolve=self._resolve,
            names_max=self._limits.names_max,
        )
        known = () if engine is None else (engine,)
        normaliser = Normaliser(names, self._signals, known=known)
        source = self._sources[key] = Source(
            normaliser, attributes, series_max=self._limits.series_max
        )
        if len(self._sources) > self._settings.resources_max:
            self._sources.popitem(last=False)
        return source


def _by_resource(points: Points) -> list[tuple[int, np.ndarray, list[int]]]:
    """Resource, rows of its numbers, and its histograms, in the order of the message."""
    of = np.array([head.resource for head in points.tables.heads], np.intp)
    owner = of[points.head] if len(points.head) else np.empty(0, np.intp)
    order = np.argsort(owner, kind="stable")
    found, at = np.unique(owner[order], return_index=True)
    rows = dict(zip(found.tolist(), np.split(order, at[1:]), strict=False))
    histograms: dict[int, list[int]] = {}
    for number, point in enumerate(points.histograms):
        histograms.setdefault(points.tables.heads[point.head].resource, []).append(number)
    return [
        (resource, rows.get(resource, np.empty(0, np.intp)), histograms.get(resource, []))
        for resource in dict.fromkeys([*rows, *histograms])
    ]


def _place(rights: Rights, attributes: Mapping[str, str]) -> str:
    """Where samples of a resource belong in the log."""
    of = rights.settings
    return of.node or of.engine or node_label(with_identities(attributes)) or of.name


def _within(rights: Rights, seen: Observation, refused: Counter[str]) -> Observation:
    """What the sender may say of what it said."""
    allowed = np.array([rights.may_measure(EntityId(e)) for e in seen.batch.entities], np.bool_)
    batch = seen.batch
    if not allowed.all():
        mask = allowed[batch.entity]
        refused["not_its_own"] += int((~mask).sum())
        batch = batch.select(mask)
    changes = tuple(change for change in seen.changes if rights.may_state(change))
    return Observation(batch, changes, seen.dropped)
