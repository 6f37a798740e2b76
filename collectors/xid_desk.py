"""Where all sightings of Xids on a node come in, from any thread, and one event each goes out.

`fleetmend agent` runs it. Sources call `take` (the eBPF collector for the driver's tracepoints,
`collectors.nvml.xids` for NVML's events) or write to a `KernelDoor`, which is a sink for the
follower of the kernel log. Waits are measured by the monotonic clock, marks are event time.
"""

import threading
from collections.abc import Mapping, Sequence

from collectors.follow import RateCap
from collectors.naming import pci_address, pci_alias
from collectors.sink import Sink
from collectors.xid_merge import XidMerger, XidSighting, XidWitness
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId, EntityKind, TopologyChange, entity_id
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.samples import SampleBatch

_SLACK_S = 1.0
"""How far marks stay behind: a sighting takes that long at most from its source to the desk."""
_MARK_S = 0.5
_NAP_S = 1.0


class XidDesk:
    """The Xids of one node; safe for any number of threads."""

    def __init__(
        self,
        *,
        cluster: str,
        node: str,
        hold_s: float,
        per_minute_max: int,
        sink: Sink,
        clock: Clock,
    ) -> None:
        """`per_minute_max`: of one Xid, or of all that anybody could have written; more are
        dropped and counted."""
        self.dropped = 0
        self.learnt = False
        """Whether somebody has looked for GPUs: an address without a name will get none soon."""
        self._cluster = cluster
        self._node = node
        self._hold_s = hold_s
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._merger = XidMerger(cluster=cluster, node=node, hold_s=hold_s)
        self._cap = RateCap(per_minute_max=per_minute_max)
        self._woken = threading.Event()
        self._gpus: dict[str, EntityId] = {}
        self._marked_s = float("-inf")

    def learn(self, uuids: Mapping[str, str]) -> None:
        """PCI address to UUID, of every GPU of the node."""
        with self._lock:
            self.learnt = True
            self._merger.learn(uuids)
            self._gpus = {
                pci_alias(self._node, pci_address(address)): entity_id(
                    self._cluster, EntityKind.GPU, uuid
                )
                for address, uuid in uuids.items()
            }

    @property
    def late(self) -> int:
        """Sightings of Xids whose event had been sent already."""
        with self._lock:
            return self._merger.late

    def resolve(self, alias: str) -> EntityId | None:
        """The GPU at `<node>/pci:<address>`: for the follower of the kernel log."""
        with self._lock:
            return self._gpus.get(alias)

    def alive(
        self, witness: XidWitness, kind: EventType = EventType.XID, *, can_tell: bool
    ) -> None:
        """Say whether a witness is there, so that it is waited for."""
        with self._lock:
            self._merger.alive(witness, kind, can_tell=can_tell)

    def witnesses(self, kind: EventType) -> frozenset[XidWitness]:
        """Who is waited for."""
        with self._lock:
            return self._merger.witnesses(kind)

    def take(self, sighting: XidSighting) -> None:
        """A sighting, as it was made. Raises StreamError when the sink does."""
        now_s = self._clock.monotonic_s()
        # Who forges a line also invents its number: all forged ones of a kind share one cap.
        forged = sighting.witness is XidWitness.APPLICATION_LOG
        number = "" if forged else sighting.xid
        kind = f"{sighting.kind} {number} {sighting.witness}"
        with self._lock:
            if not self._cap.admit(kind, now_s):
                self.dropped += 1
                return
            events = self._merger.take(sighting, now_s)
        self._send(events)
        self._woken.set()

    def run(self, stop: threading.Event) -> None:
        """Send what has waited long enough, and mark, until `stop` is set."""
        while not stop.is_set():
            self._woken.clear()
            self._clock.wait(self._woken, self.poll())
        with self._lock:
            events = self._merger.due(float("inf"))
        self._send(events)

    def poll(self) -> float:
        """Send what is due; seconds until there may be more."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            events = self._merger.due(now_s)
            since_s, oldest_s = self._merger.waiting_since_s, self._merger.oldest_s
        self._send(events)
        promised_s = self._clock.now_s() - _SLACK_S
        mark_s = min(promised_s, float("inf") if oldest_s is None else oldest_s)
        if mark_s - self._marked_s >= _MARK_S:
            self._marked_s = mark_s
            self._sink.mark(mark_s)
        return _NAP_S if since_s is None else max(0.0, since_s + self._hold_s - now_s)

    def _send(self, events: Sequence[Event]) -> None:
        for event in events:
            self._sink.event(event)


_NUMBERS = {EventType.XID: "xid", EventType.SXID: "sxid"}
"""The field of an event that holds the number of the error."""


class KernelDoor:
    """A sink for the follower of the kernel log: its Xids and SXids go to the desk, the rest
    passes."""

    def __init__(self, sink: Sink, desk: XidDesk) -> None:
        self._sink = sink
        self._desk = desk

    def samples(self, batch: SampleBatch, node: str) -> None:
        """Passes."""
        self._sink.samples(batch, node)

    def event(self, event: Event) -> None:
        """An Xid or SXid becomes a sighting; every other event passes."""
        number = _NUMBERS.get(event.type, "")
        if not isinstance(event.data.get(number), int):
            self._sink.event(event)
            return
        told = dict(event.data)
        line, pci, xid = str(told.pop("line", "")), str(told.get("pci", "")), int(told.pop(number))
        forged = told.pop("witness", "") != Witness.KERNEL_LOG.value
        witness = XidWitness.APPLICATION_LOG if forged else XidWitness.KERNEL_LOG
        self._desk.take(
            XidSighting(
                pci,
                xid,
                event.time_s,
                witness,
                line=line,
                fields=told,
                identity=event.id,
                kind=event.type,
            )
        )

    def topology(self, change: TopologyChange) -> None:
        """Passes."""
        self._sink.topology(change)

    def mark(self, at_s: float) -> None:
        """Passes."""
        self._sink.mark(at_s)
