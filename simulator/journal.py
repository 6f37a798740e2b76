"""What collectors would report as events: kernel lines, engine logs, conditions, changes, probes.

Every part of the simulator writes here; `simulator.fleet` hands the events out. Shapes are those of
`fleetmend.model.events`.
"""

from fleetmend.model.entities import EntityId, key_of
from fleetmend.model.events import Event, EventType, Witness, event_id
from simulator.layout import GPUS_PER_NODE, PCI_BUSES, Layout

Value = str | int | float | bool


def pci_of(gpu: int) -> str:
    """PCI address of a GPU as the driver prints it, without the function."""
    return f"0000:{PCI_BUSES[gpu % GPUS_PER_NODE]}:00"


class Journal:
    """Events not handed out yet, in the order in which they happened."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._events: list[Event] = []
        self._count = 0

    def take(self) -> list[Event]:
        """Hand out what has gathered."""
        events, self._events = self._events, []
        return events

    def xid(self, gpu: int, number: int, text: str, *, process: str, at_s: float) -> None:
        """A driver line about one GPU."""
        pci = pci_of(gpu)
        line = f"NVRM: Xid (PCI:{pci}): {number}, pid='<unknown>', name={process}, {text}"
        data: dict[str, Value] = {
            "xid": number,
            "pci": pci,
            "pid": 0,
            "process": process,
            "line": line,
            "witness": Witness.KERNEL_LOG.value,
        }
        node = self._layout.nodes[gpu // GPUS_PER_NODE]
        self._add(EventType.XID, "kmsg", self._layout.gpu_ids[gpu], node, data, at_s)

    def log(
        self,
        subject: EntityId,
        node: str,
        *,
        signature: str,
        line: str,
        witness: Witness,
        at_s: float,
    ) -> None:
        """A line that matched a known signature."""
        data: dict[str, Value] = {"signature": signature, "line": line, "witness": witness.value}
        channel = "kmsg" if witness is Witness.KERNEL_LOG else "log"
        self._add(EventType.LOG_SIGNATURE, channel, subject, node, data, at_s)

    def condition(
        self, node: int, *, condition: str, status: str, reason: str, at_s: float
    ) -> None:
        """A node condition as the control plane reports it."""
        data: dict[str, Value] = {
            "condition": condition,
            "status": status,
            "reason": reason,
            "witness": Witness.CLUSTER_API.value,
        }
        subject, name = self._layout.node_ids[node], self._layout.nodes[node]
        self._add(EventType.NODE_CONDITION, "kubernetes", subject, name, data, at_s)

    def change(
        self,
        subject: EntityId,
        *,
        change: str,
        before: str,
        now: str,
        who: str,
        at_s: float,
        node: str = "",
        object: str = "",
    ) -> None:
        """Somebody changed something on purpose: the form of the cluster's collector. `object`: the
        Kubernetes object that was changed, where it is not the subject itself."""
        data: dict[str, Value] = {
            "change": change,
            "what": f"{before or 'none'} -> {now or 'none'}",
            "who": who,
            "witness": Witness.CLUSTER_API.value,
            "from": before,
            "to": now,
        }
        if object:
            data["object"] = object
        self._add(EventType.CHANGE, "kubernetes", subject, node, data, at_s)

    def scrape(
        self, subject: EntityId, node: str, *, outcome: str, samples: int, at_s: float
    ) -> None:
        """How reading a metrics page went."""
        data: dict[str, Value] = {
            "target": key_of(subject),
            "outcome": outcome,
            "samples": samples,
        }
        self._add(EventType.SCRAPE, "prometheus", subject, node, data, at_s)

    def probe(
        self, subject: EntityId, node: str, *, ok: bool, duration_s: float, at_s: float
    ) -> None:
        """A small request sent to an engine to see whether it answers."""
        data: dict[str, Value] = {
            "asked": "completion",
            "ok": ok,
            "duration_s": duration_s,
            "witness": Witness.PROBE.value,
        }
        self._add(EventType.PROBE, "probe", subject, node, data, at_s)

    def _add(
        self,
        kind: EventType,
        channel: str,
        subject: EntityId,
        node: str,
        data: dict[str, Value],
        at_s: float,
    ) -> None:
        self._count += 1
        source = f"collector/{channel}/{node or self._layout.settings.cluster}"
        # The count keeps two equal lines of one second apart.
        identity = event_id(source, kind.value, at_s, subject, self._count)
        self._events.append(Event(identity, source, kind, at_s, subject, node, data))
