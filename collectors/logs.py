"""From a log line to an event: `collectors.kmsg` and `collectors.replay` call it for every line.

Only lines of the catalogue become events; the rest is dropped unread. The same line read twice
gives the same event id, and is let through once.
"""

from dataclasses import dataclass, replace

from collectors.naming import Resolve, pci_address, pci_alias
from collectors.signatures import LINE_MAX, Channel, Match, match_line
from fleetmend.model.entities import EntityId, EntityKind, entity_id, kind_of
from fleetmend.model.events import Event, EventType, Witness, event_id

_REMEMBERED = 4096
"""Event ids to remember against repeats."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line and where it came from."""

    at_s: float
    node: str
    channel: Channel
    text: str
    witness: Witness
    """What the channel makes it: a kernel line is KERNEL_LOG only with facility 0."""
    engine: EntityId | None = None
    identity: str = ""
    """What makes the line itself when its text and time do not (a sequence number)."""


class LogEvents:
    """The events in the lines of one cluster."""

    def __init__(self, *, cluster: str, resolve: Resolve) -> None:
        self._cluster = cluster
        self._resolve = resolve
        self._seen: dict[str, None] = {}

    def event(self, line: LogLine) -> Event | None:
        """The event that a line reports; None for a line that says nothing or was seen before."""
        match = match_line(line.text, line.channel)
        if match is None:
            return None
        source = f"collector/{line.channel}/{line.node}"
        identity = line.identity or repr(line.at_s)
        # Uncapped text: two lines that differ only beyond the cap are still two. With the witness:
        # an application that copies a kernel line must not stand in for it.
        number = event_id(source, line.witness, match.name, identity, line.text)
        if number in self._seen:
            return None
        self._seen[number] = None
        if len(self._seen) > _REMEMBERED:
            del self._seen[next(iter(self._seen))]
        return Event(
            id=number,
            source=source,
            type=_TYPES.get(match.name, EventType.LOG_SIGNATURE),
            time_s=line.at_s,
            subject=self._subject(line, match),
            node=line.node,
            data=_data(line, match),
        )

    def nameless(self, event: Event) -> bool:
        """Whether an event speaks of a GPU by an address that nobody bears (yet)."""
        return (
            kind_of(event.subject) is EntityKind.NODE
            and event.data.get("signature", event.type) in _ABOUT_A_GPU | {EventType.XID}
            and "pci" in event.data
        )

    def named(self, event: Event) -> Event:
        """The same event, about the GPU itself when its address has become known."""
        gpu = self._resolve(pci_alias(event.node, str(event.data["pci"])))
        return event if gpu is None else replace(event, subject=gpu)

    def _subject(self, line: LogLine, match: Match) -> EntityId:
        """As precisely as the line tells: GPU, switch, engine, else the node."""
        if match.name == "sxid":
            switch = f"{line.node}/nvswitch{match.fields.get('switch', 0)}"
            return entity_id(self._cluster, EntityKind.SWITCH, switch)
        if match.name in _ABOUT_A_GPU:
            gpu = self._gpu(line.node, match)
            if gpu is not None:
                return gpu
        return line.engine or entity_id(self._cluster, EntityKind.NODE, line.node)

    def _gpu(self, node: str, match: Match) -> EntityId | None:
        uuid = match.fields.get("gpu")
        if uuid:
            return entity_id(self._cluster, EntityKind.GPU, str(uuid))
        address = pci_address(str(match.fields.get("pci", "")))
        return self._resolve(pci_alias(node, address)) if address else None


_TYPES = {"xid": EventType.XID, "sxid": EventType.SXID}
_ABOUT_A_GPU = frozenset({"xid", "gpu_off_bus", "gpu_lost"})


def _data(line: LogLine, match: Match) -> dict[str, str | int | float | bool]:
    data: dict[str, str | int | float | bool] = dict(match.fields)
    if "pci" in data:
        data["pci"] = pci_address(str(data["pci"])) or str(data["pci"])
    if match.name not in _TYPES:
        data["signature"] = match.name
    data["witness"] = line.witness.value
    data["line"] = line.text[:LINE_MAX]
    return data
