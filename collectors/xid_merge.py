"""One Xid, however many tell of it: sightings from any source become one event.

The kernel log, the driver's tracepoint and NVML's event set each tell of the same Xid, in any order
and some not at all; of an SXid of a switch the first two. `collectors.xid_desk` takes their
sightings in and sends what comes out. Pure: the time comes with each call, by a clock that nobody
sets, so that a wait is as long as it should be.

An event is held until everybody who can tell has told, and `hold_s` at most: who waits for a cordon
must not wait for a third witness. What comes later is counted with the event that it belongs to and
sent by nobody. A witness tells of one Xid once, so two lines of one witness are two Xids.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from collectors.naming import pci_address
from collectors.signatures import LINE_MAX
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import Event, EventType, Witness, event_id

HOLD_S = 0.08
"""Longest wait for other witnesses: each wakes a thread that waits for it, so all of them are here
within some milliseconds, and the event goes out within a tenth of a second also where one says
nothing."""
MATCH_S = 5.0
"""Two sightings further apart in event time are two Xids: the kernel's clock drifts by some
seconds over months of uptime."""
REMEMBER_S = 30.0
"""Seconds that an event is remembered for who tells of it late."""
_GROUPS_MAX = 1024
_NAME_MAX = 64


class XidWitness(StrEnum):
    """Who tells of an Xid."""

    KERNEL_LOG = "kernel_log"
    """A line with facility 0."""
    TRACEPOINT = "tracepoint"
    """`nvidia:nvidia_dev_xid`."""
    NVML = "nvml_event"
    """NVML's event set, type 8."""
    APPLICATION_LOG = "application_log"
    """A line that anybody could have written: never joined with what kernel and driver tell."""


_COUNTS_AS = {
    XidWitness.KERNEL_LOG: Witness.KERNEL_LOG,
    XidWitness.TRACEPOINT: Witness.DRIVER_EVENT,
    XidWitness.NVML: Witness.DRIVER_EVENT,
    XidWitness.APPLICATION_LOG: Witness.APPLICATION_LOG,
}
_RANK = tuple(XidWitness)
"""Whose word goes first where two tell the same field: the kernel's line names pid and process."""


@dataclass(frozen=True, slots=True)
class XidSighting:
    """One witness's word for one Xid."""

    gpu: str
    """PCI address in any form (`0000:3b:00`, `00000000:3B:00.0`) or the GPU's UUID; empty when not
    told."""
    xid: int
    at_s: float
    """When it happened, Unix seconds, as precisely as the witness knows."""
    witness: XidWitness
    line: str = ""
    """What was printed, for people; cut here."""
    fields: Mapping[str, str | int | float | bool] = field(default_factory=dict)
    """What else was told (`pid`, `process`, `link` ...), as in the events of the kernel log."""
    identity: str = ""
    """What makes the sighting itself beyond its time (the kernel log's sequence number), so that
    who reads it again after a restart gives the event the same id."""
    kind: EventType = EventType.XID
    """XID, or SXID: then `xid` is the switch's number of the error."""


@dataclass(slots=True)
class _Group:
    """The sightings of one Xid."""

    first: XidSighting
    heard_s: float
    told: dict[XidWitness, XidSighting] = field(default_factory=dict)
    sent: bool = False


class XidMerger:
    """The Xids of one node."""

    def __init__(
        self, *, cluster: str, node: str, hold_s: float = HOLD_S, match_s: float = MATCH_S
    ) -> None:
        self.late = 0
        """Sightings of Xids whose event had been sent already."""
        self._cluster = cluster
        self._node = node
        self._hold_s = hold_s
        self._match_s = match_s
        self._alive: set[tuple[EventType, XidWitness]] = set()
        self._uuid_of: dict[str, str] = {}
        self._groups: list[_Group] = []

    def alive(
        self, witness: XidWitness, kind: EventType = EventType.XID, *, can_tell: bool
    ) -> None:
        """Say whether a witness is there: only for those who are is anything held."""
        if can_tell:
            self._alive.add((kind, witness))
        else:
            self._alive.discard((kind, witness))

    def witnesses(self, kind: EventType) -> frozenset[XidWitness]:
        """Who is there to tell of a kind."""
        return frozenset(witness for told, witness in self._alive if told is kind)

    def learn(self, uuids: Mapping[str, str]) -> None:
        """Which GPU (UUID) lies at which PCI address: NVML names GPUs, the kernel addresses."""
        self._uuid_of = {pci_address(address): uuid for address, uuid in uuids.items()}

    def gpu(self, named: str) -> str:
        """The one name of a GPU: its UUID where that is known, else its address, else as told."""
        address = pci_address(named)
        return self._uuid_of.get(address, address) if address else named[:_NAME_MAX]

    def take(self, sighting: XidSighting, now_s: float) -> list[Event]:
        """Take a sighting in; the event when nobody is left to wait for. `now_s`: when it was
        heard, monotonic seconds."""
        group = self._group_of(sighting)
        if group is None:
            group = _Group(sighting, now_s)
            self._groups.append(group)
        elif group.sent:
            self.late += 1
        group.told[sighting.witness] = sighting
        return self.due(now_s)

    def due(self, now_s: float) -> list[Event]:
        """The events that need not or must not wait any longer, in the order of their first
        sightings."""
        ready = [group for group in self._groups if not group.sent and self._ready(group, now_s)]
        for group in ready:
            group.sent = True
        kept = [g for g in self._groups if not g.sent or now_s - g.heard_s < REMEMBER_S]
        self._groups = kept[-_GROUPS_MAX:]
        return [self._event(group) for group in ready]

    @property
    def waiting_since_s(self) -> float | None:
        """When the oldest that still waits was heard."""
        return min((group.heard_s for group in self._groups if not group.sent), default=None)

    @property
    def oldest_s(self) -> float | None:
        """The oldest event time that may still be sent: marks stay behind it."""
        waiting = [group for group in self._groups if not group.sent]
        return min((s.at_s for group in waiting for s in group.told.values()), default=None)

    def _group_of(self, sighting: XidSighting) -> _Group | None:
        gpu, forged = self.gpu(sighting.gpu), sighting.witness is XidWitness.APPLICATION_LOG
        for group in self._groups:
            if (
                (group.first.kind, group.first.xid) == (sighting.kind, sighting.xid)
                and self.gpu(group.first.gpu) == gpu
                and sighting.witness not in group.told
                and (group.first.witness is XidWitness.APPLICATION_LOG) is forged
                and abs(group.first.at_s - sighting.at_s) <= self._match_s
            ):
                return group
        return None

    def _ready(self, group: _Group, now_s: float) -> bool:
        awaited = self.witnesses(group.first.kind)
        alone = group.first.witness is XidWitness.APPLICATION_LOG
        return alone or awaited <= set(group.told) or now_s >= group.heard_s + self._hold_s

    def _event(self, group: _Group) -> Event:
        told = [group.told[witness] for witness in _RANK if witness in group.told]
        best = told[0]
        gpu = self.gpu(best.gpu)
        address = next((a for s in told if (a := pci_address(s.gpu))), "")
        address = address or next((a for a, uuid in self._uuid_of.items() if uuid == gpu), "")
        at_s = min(sighting.at_s for sighting in told)
        data: dict[str, str | int | float | bool] = {}
        for sighting in reversed(told):
            data |= sighting.fields
        data |= {"pci": address} if address else {}
        data["xid" if best.kind is EventType.XID else "sxid"] = best.xid
        data["witness"] = _COUNTS_AS[best.witness].value
        data["witnesses"] = " ".join(sorted(sighting.witness.value for sighting in told))
        data["line"] = next((s.line for s in told if s.line), "")[:LINE_MAX]
        source = f"collector/xid/{self._node}"
        identity = best.identity or repr(best.at_s)
        return Event(
            id=event_id(source, best.kind, best.witness, best.xid, gpu, identity),
            source=source,
            type=best.kind,
            time_s=at_s,
            subject=self._subject(gpu) if best.kind is EventType.XID else self._switch(data),
            node=self._node,
            data=data,
        )

    def _switch(self, data: Mapping[str, str | int | float | bool]) -> EntityId:
        """The switch where the kernel's line numbers it, else the node."""
        if "switch" not in data:
            return entity_id(self._cluster, EntityKind.NODE, self._node)
        name = f"{self._node}/nvswitch{data['switch']}"
        return entity_id(self._cluster, EntityKind.SWITCH, name)

    def _subject(self, gpu: str) -> EntityId:
        """The GPU where its UUID is known, else the node."""
        if gpu and gpu in self._uuid_of.values():
            return entity_id(self._cluster, EntityKind.GPU, gpu)
        return entity_id(self._cluster, EntityKind.NODE, self._node)
