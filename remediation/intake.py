"""The intake: from the log into the store, exactly once, and into the picture.

Topology, findings and demand go into memory and are read again after a restart; incidents go into
the store, together with everything they lead to and the read position, in one transaction. So a
crash anywhere repeats nothing and loses nothing. Called in a loop by the composition root.
"""

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Sequence

from fleetmend.clock import Clock
from fleetmend.errors import BadInput, FleetError, OffsetsLost
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import TopologyChange
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.store import Store, Transaction
from fleetmend.streams.port import Log, RawRecord, Record, TopicPartition
from fleetmend.streams.topics import SPECS, Topic
from remediation.picture import Picture
from remediation.proposals import ACTOR, Proposals
from remediation.session import is_over

logger = logging.getLogger(__name__)

CONSUMER = "remediation.intake"
RECORDS_MAX = 1000
"""Records taken in at once: one transaction stays short."""

SWEEP_S = 2.0
"""Seconds between two looks for incidents whose turn may have come."""

PAYLOAD_MAX = 4096
REMEMBERED = (Topic.TOPOLOGY, Topic.FINDINGS)
"""Topics that are read from their beginning after a restart: the picture is made of them."""

Decode = Callable[[RawRecord], Record]


class Intake:
    """One reader; two of them would only repeat each other's work."""

    def __init__(
        self,
        *,
        log: Log,
        decode: Decode,
        store: Store,
        picture: Picture,
        proposals: Proposals,
        clock: Clock,
    ) -> None:
        """`decode` reads one record and raises BadInput."""
        self._log = log
        self._decode = decode
        self._store = store
        self._picture = picture
        self._proposals = proposals
        self._clock = clock
        self._positions: dict[TopicPartition, int] = {}
        self._behind_until: dict[TopicPartition, int] = {}
        self._waiting: set[str] = set()
        """Incidents whose plan is about something that another session holds, and those that
        failed."""
        self._failing: dict[str, str] = {}
        """Incidents that cannot be proposed: the error that was logged last."""
        self._swept_s = float("-inf")
        self.failures: Counter[str] = Counter()
        """Times that an incident could not be proposed in a sweep, by the name of the error."""

    def start(self) -> None:
        """Find the places to read from. Raises StoreError, StreamError."""
        self._swept_s = self._clock.now_s()
        with self._store.reading() as tx:
            kept = tx.positions.get(CONSUMER)
            self._waiting = {incident.id for incident in _open_incidents(tx)}
        for topic in (*REMEMBERED, Topic.INCIDENTS, Topic.SAMPLES):
            for partition in self._log.partitions(topic):
                begin, end = self._log.begin(partition), self._log.end(partition)
                match topic:
                    case Topic.SAMPLES:
                        position = end  # old demand says nothing; new demand comes every second
                    case Topic.INCIDENTS:
                        position = kept.get(str(partition), begin)
                    case _:
                        position = begin
                self._positions[partition] = position
                if topic is not Topic.SAMPLES:
                    self._behind_until[partition] = end

    def step(self, *, wait_s: float = 0.0) -> int:
        """Take in what there is, at most `RECORDS_MAX` records; how many there were. Raises
        StoreError and StreamError: nothing was taken in then, try again."""
        try:
            raw = self._log.read(self._wanted(), limit=RECORDS_MAX, wait_s=wait_s)
        except OffsetsLost as lost:
            self._rebuild(lost)
            return 0
        records, letters = self._decoded(raw)
        for record in records:
            self._picture_takes(record)
        incidents = [record for record in records if record.topic is Topic.INCIDENTS]
        reached = {TopicPartition(r.topic, r.partition): r.offset + 1 for r in raw}
        changes = [r.payload for r in incidents if isinstance(r.payload, Incident)]
        if changes or letters:
            self._keep(changes, letters, reached)
        for record in incidents:
            if isinstance(record.payload, Mark):
                self._picture.mark(record.payload)
        self._positions |= reached
        self._note_progress()
        if not self._picture.behind:
            self._sweep()
        return len(raw)

    def _wanted(self) -> dict[TopicPartition, int]:
        """Where to read: incidents wait until the topology that plans are made from is known."""
        if not any(partition.topic in REMEMBERED for partition in self._behind_until):
            return self._positions
        return {p: at for p, at in self._positions.items() if p.topic in REMEMBERED}

    def _decoded(self, raw: Iterable[RawRecord]) -> tuple[list[Record], list[DeadLetter]]:
        """What can be understood, in the one order of all stages; the rest as dead letters."""
        records, letters = [], []
        for item in raw:
            try:
                records.append(self._decode(item))
            except BadInput as error:
                where = f"{item.topic.value}/{item.partition} offset {item.offset}"
                payload = item.value[:PAYLOAD_MAX]
                at_s = self._clock.now_s()
                letters.append(DeadLetter(at_s, "stream", where, str(error), payload))
        records.sort(key=lambda r: (SPECS[r.topic].rank, r.partition, r.offset))
        return records, letters

    def _picture_takes(self, record: Record) -> None:
        match record.payload:
            case TopologyChange() as change:
                self._picture.change(change)
            case Finding() as finding:
                self._picture.find(finding)
            case SampleBatch() as batch:
                self._picture.observe(batch)
            case _:
                pass  # incidents go into the store; marks of other topics mean nothing here

    def _keep(
        self,
        changes: Sequence[Incident],
        letters: Sequence[DeadLetter],
        reached: dict[TopicPartition, int],
    ) -> None:
        """One transaction: incidents, all that they lead to, and how far they were read."""
        now_s = self._clock.now_s()
        waiting: set[str] = set()
        with self._store.transaction() as tx:
            for letter in letters:
                tx.dead_letters.put(letter)
            for change in changes:
                if self._proposals.keep(tx, change, now_s=now_s):
                    waiting.add(change.id)
            read_to = self._positions | reached
            tx.positions.set(
                CONSUMER, {str(p): o for p, o in read_to.items() if p.topic is Topic.INCIDENTS}
            )
        self._waiting |= waiting

    def _sweep(self) -> None:
        """Give incidents another chance: their node may be free by now, an approval may have run
        out, their last session may be over."""
        now_s = self._clock.now_s()
        if now_s - self._swept_s < SWEEP_S:
            return
        with self._store.reading() as tx:
            ended = {s.incident for s in tx.sessions.since(max(0.0, self._swept_s)) if is_over(s)}
        self._swept_s = now_s
        self._waiting |= ended
        for incident_id in sorted(self._waiting):
            try:
                waits = self._propose(incident_id, now_s)
            except FleetError as error:
                self._failed(incident_id, error, expected=True)
            except Exception as error:  # noqa: BLE001  a defect that one meets stops no other
                self._failed(incident_id, error, expected=False)
            else:
                self._failing.pop(incident_id, None)
                if not waits:
                    self._waiting.discard(incident_id)

    def _propose(self, incident_id: str, now_s: float) -> bool:
        """Whether the incident has to be looked at again later."""
        with self._store.transaction() as tx:
            incident = tx.incidents.get(incident_id)
            return incident is not None and self._proposals.propose(tx, incident, now_s=now_s)

    def _failed(self, incident_id: str, error: Exception, *, expected: bool) -> None:
        """It stays among those that wait; the same error each time is one line, and a figure."""
        self.failures[type(error).__name__] += 1
        what = f"{type(error).__name__}: {error}"
        if self._failing.get(incident_id) == what:
            return
        self._failing[incident_id] = what
        extra = {"incident": incident_id, "error": what}
        logger.error("incident cannot be proposed", extra=extra, exc_info=not expected)

    def _note_progress(self) -> None:
        """The picture is complete once everything that lay in the log at the start was read."""
        for partition, end in list(self._behind_until.items()):
            if self._positions[partition] >= end:
                del self._behind_until[partition]
        self._picture.behind = "reading the log from its beginning" if self._behind_until else ""

    def _rebuild(self, lost: OffsetsLost) -> None:
        """Records are gone that were not read: go on from the oldest, and until the end is reached
        nothing is taken out."""
        for partition, position in self._positions.items():
            begin, end = self._log.begin(partition), self._log.end(partition)
            if not begin <= position <= end:  # behind the log, or of a log that is no more
                self._positions[partition] = begin
                self._behind_until[partition] = end
        self._picture.behind = f"records were lost: {lost.what}"
        with self._store.transaction() as tx:
            tx.audit.append(
                at_s=self._clock.now_s(),
                actor=ACTOR,
                verb=AuditVerb.NOTE,
                subject=CONSUMER,
                detail={"note": "offsets lost", "what": lost.what},
            )


def _open_incidents(tx: Transaction) -> list[Incident]:
    """All that are neither resolved nor merged."""
    found: list[Incident] = []
    for status in (IncidentStatus.OPEN, IncidentStatus.MITIGATED):
        after: str | None = None
        while page := tx.incidents.page(status=status, after=after, limit=500):
            found += page
            after = page[-1].id
    return found
