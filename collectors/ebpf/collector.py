"""The eBPF collector of a node: from the kernel's counts to samples and events in a `Sink`.

The node agent runs one; on a machine that allows no programs it says so and does nothing else.
"""

import logging
import threading
from collections.abc import Callable, Collection, Sequence

from collectors.announce import observed
from collectors.ebpf.availability import Reason, Unavailable
from collectors.ebpf.counts import Counts
from collectors.ebpf.happenings import Happening, Stuck, Value, What, of_failures, of_record
from collectors.ebpf.layout import XID, Record
from collectors.ebpf.libbpf import BpfError
from collectors.ebpf.listener import Listener
from collectors.ebpf.probes import Probes
from collectors.ebpf.processes import Finder, Process, printable, started_at
from collectors.follow import RateCap
from collectors.promise import Promise
from collectors.signatures import LINE_MAX
from collectors.sink import Sink
from collectors.xid_merge import XidSighting, XidWitness
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import Event, EventType, Witness, event_id
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.ebpf import EbpfSettings

logger = logging.getLogger(__name__)

GpusOf = Callable[[int], Sequence[EntityId]]
"""The GPUs on which NVML sees this process."""
Start = Callable[[EbpfSettings], Probes | Reason]
Hears = Callable[[EventType, bool], None]
"""Told whether the driver's tracepoint for XID or SXID is heard."""

_HEARTBEAT_S = 10.0
_PER_MINUTE_MAX = 600
"""Most events of one kind a minute; more are counted."""


class EbpfCollector:
    """One node's programs and what they count."""

    def __init__(
        self,
        settings: EbpfSettings,
        *,
        cluster: str,
        node: str,
        sink: Sink,
        clock: Clock,
        gpus_of: GpusOf = lambda _pid: (),
        gpu_pids: Callable[[], Collection[int] | None] = lambda: None,
        on_xid: Callable[[XidSighting], None] = lambda _sighting: None,
        hears: Hears = lambda _kind, _can_tell: None,
        start: Start = Probes.start,
        find: Callable[[float], list[Process]] | None = None,
    ) -> None:
        """`gpu_pids`: who uses a GPU, where that is known. `on_xid` gets what the driver's
        tracepoints tell, as it happens and in a thread of its own; `hears` whether they are heard,
        so that a merger waits for them or not. `start`, `find`: the kernel and the processes, which
        tests replace."""
        self._settings = settings
        self._name = f"ebpf-{node}"
        self._cluster, self._node = cluster, node
        self._subject = entity_id(cluster, EntityKind.NODE, node)
        self._sink, self._clock = sink, clock
        self._gpus_of, self._on_xid, self._hears = gpus_of, on_xid, hears
        self._find = find or Finder(every_s=settings.scan_s, holders=gpu_pids)
        self._start = start
        self._probes: Probes | Reason = Reason(Unavailable.SWITCHED_OFF)
        self._listener: Listener | None = None
        self._counts = Counts(node=self._subject, place=self._place)
        self._stuck = Stuck(after_s=settings.wait_stuck_s)
        self._cap = RateCap(per_minute_max=_PER_MINUTE_MAX)
        self._known: dict[int, Process] = {}
        self._scanned_s = self._beat_s = float("-inf")
        self._told: dict[str, Value] = {}
        self._promise = Promise(clock, cluster=cluster, name=self._name, tell=sink.event)

    def run(self, stop: threading.Event) -> None:
        """Load, count until `stop` is set, and take everything out of the kernel again. Raises
        StreamError when the sink does."""
        self.open()
        try:
            while not stop.is_set():
                self.poll()
                self._clock.wait(stop, self._settings.interval_s)
        finally:
            self.close()

    def open(self) -> None:
        """Load and attach what the machine allows."""
        self._probes = started = self._start(self._settings)
        if isinstance(started, Reason):
            why = f"{started.why.value} {started.words}"[:200]
            logger.warning("no programs in the kernel", extra={"why": why})
        if isinstance(started, Probes):
            self._listener = Listener(started.ring, report=self._report)
            self._hears(EventType.XID, started.tells_xids)
            self._hears(EventType.SXID, started.tells_sxids)
        for change in observed(self._cluster, self._name, [self._subject], self._clock.now_s()):
            self._sink.topology(change)

    @property
    def available(self) -> bool:
        """Whether programs run; from any thread."""
        return isinstance(self._probes, Probes)

    def totals(self) -> dict[tuple[EntityId, str], int]:
        """What was counted so far, by GPU or node and name; from any thread."""
        return self._counts.totals()

    def close(self) -> int:
        """Detach and unload; the number of links that would not go."""
        for kind in (EventType.XID, EventType.SXID):
            self._hears(kind, False)
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()
        probes, self._probes = self._probes, Reason(Unavailable.SWITCHED_OFF)
        return probes.close() if isinstance(probes, Probes) else 0

    def poll(self) -> None:
        """Read once and send: samples, events, the heartbeat when it is due, a mark."""
        at_s = self._promise.now_s()
        rows: list[tuple[float, str, str, float]] = []
        events: list[Event] = []
        if isinstance(self._probes, Probes):
            try:
                rows, events = self._read(self._probes, at_s)
            except BpfError as error:
                self.close()
                self._probes = Reason(Unavailable.REFUSED, error.what)
        rows.append((at_s, self._subject, "node.ebpf_available", float(self.available)))
        for event in events:
            if self._cap.admit(str(event.data.get("what", event.type)), at_s):
                self._sink.event(event)
        self._beat(at_s)
        self._sink.samples(SampleBatch.from_rows(rows), self._node)
        self._promise.marked_s = at_s
        self._sink.mark(at_s)

    def _read(
        self, probes: Probes, at_s: float
    ) -> tuple[list[tuple[float, str, str, float]], list[Event]]:
        now_s = self._clock.monotonic_s()
        gone = self._scan(probes, now_s) if now_s - self._scanned_s >= self._settings.scan_s else []
        records = [] if self._listener is None else self._listener.take()
        seen = probes.snapshot()  # after the records: what ended has its last counts in it
        happened = [happening for record in records if (happening := of_record(record))]
        gone = [*gone, *(h.pid for h in happened if h.what is What.EXIT)]
        rows, failures = self._counts.rows(seen, at_s=at_s, monotonic_s=now_s, gone=gone)
        happened += of_failures(failures, now_s)
        happened += self._stuck.changes(seen, now_s)
        events = [self._event(happening, at_s, now_s) for happening in happened]
        probes.sweep(gone)
        self._counts.forget(gone)
        for pid in gone:
            self._known.pop(pid, None)
        return rows, events

    def _scan(self, probes: Probes, now_s: float) -> list[int]:
        """Attach to what came; the processes that have ended without a record of it."""
        self._scanned_s = now_s
        found = {process.pid: process for process in self._find(now_s)}
        probes.follow(found.values())
        seen = probes.snapshot()
        counted = {use.pid for use in seen.uses} | {rank.pid for rank in seen.communicators}
        gone = [pid for pid in counted - found.keys() if started_at(pid) is None]
        gone += [
            pid
            for pid, process in self._known.items()
            if pid in found and found[pid].started != process.started
        ]
        self._known = {**{p: k for p, k in self._known.items() if p in counted}, **found}
        return gone

    def _place(self, pid: int) -> EntityId | None:
        gpus = self._gpus_of(pid)
        return gpus[0] if len(gpus) == 1 else None

    def _event(self, happening: Happening, at_s: float, now_s: float) -> Event:
        """The kernel's clock is turned into the event's time; nothing lies before the last mark."""
        time_s = max(self._promise.marked_s, min(at_s, at_s - (now_s - happening.monotonic_s)))
        known = self._known.get(happening.pid)
        process = happening.process or (known.name if known is not None else "")
        data: dict[str, Value] = {
            "what": happening.what.value,
            "pid": happening.pid,
            "process": process,
            "witness": Witness.TELEMETRY.value,
            **happening.data,
        }
        return self._made(
            EventType.PROCESS,
            (happening.what, happening.pid, happening.identity, repr(happening.monotonic_s)),
            time_s,
            self._place(happening.pid) or self._subject,
            data,
        )

    def _report(self, record: Record) -> None:
        """An Xid or SXid, to whoever merges what several tell. The kernel's clock is turned into
        the event's time."""
        age_s = max(0.0, self._clock.monotonic_s() - record.at_ns * 1e-9)
        self._on_xid(
            XidSighting(
                printable(record.name),
                record.code,
                self._clock.now_s() - age_s,
                XidWitness.TRACEPOINT,
                line=printable(record.text, LINE_MAX),
                identity=f"tracepoint {record.at_ns}",
                kind=EventType.XID if record.kind == XID else EventType.SXID,
            )
        )

    def _beat(self, at_s: float) -> None:
        """Say what is loaded: at once when it changed, else now and then."""
        state = self._state()
        if state == self._told and 0 <= at_s - self._beat_s < _HEARTBEAT_S:
            return
        self._told, self._beat_s = state, at_s
        subject = entity_id(self._cluster, EntityKind.COLLECTOR, self._name)
        dropped = self._cap.dropped + (self._listener.dropped if self._listener is not None else 0)
        data = {**state, "dropped": dropped}
        self._sink.event(self._made(EventType.HEARTBEAT, (repr(at_s),), at_s, subject, data))

    def _state(self) -> dict[str, Value]:
        if isinstance(self._probes, Reason):
            reason = self._probes
            return {"available": False, "reason": reason.why.value, "words": reason.words}
        state = self._probes.state
        refused = "; ".join(f"{name}: {words}" for name, words in sorted(state.refused.items()))
        return {
            "available": True,
            "groups": " ".join(state.groups),
            "refused": printable(refused, LINE_MAX),
            "absent": " ".join(state.absent),
            "libraries": state.libraries,
            "libraries_refused": state.over_limit,
            "functions_absent": state.functions_absent,
        }

    def _made(
        self,
        kind: EventType,
        parts: tuple[object, ...],
        time_s: float,
        subject: EntityId,
        data: dict[str, Value],
    ) -> Event:
        source = f"collector/{self._name}"
        return Event(event_id(source, *parts), source, kind, time_s, subject, self._node, data)
