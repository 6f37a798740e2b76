"""The log lines of a recording as events; `collectors.replay` calls it for every step.

A kernel line names a GPU by PCI address, which recordings do not always resolve. An NVML event of
the same Xid in the same second names it by UUID: from then on the address is known.
"""

from collectors.kernel_lines import parse_kernel_line
from collectors.logs import LogEvents, LogLine
from collectors.naming import pci_address, pci_alias
from collectors.recorded_topology import CLUSTER, RecordedFleet, engine_id
from collectors.recording import LogRow
from collectors.signatures import Channel, match_line
from fleetmend.model.entities import EntityId, TopologyChange, TopologyOp
from fleetmend.model.events import Event, Witness

_PAIR_S = 1.0
"""How close a driver event and a kernel line of one Xid are, to be about one GPU."""
_CHANNELS = {"kmsg": Channel.KERNEL, "nvml": Channel.DRIVER, "engine": Channel.ENGINE}
_WITNESSES = {
    Channel.KERNEL: Witness.KERNEL_LOG,  # unless the line itself tells another facility
    Channel.DRIVER: Witness.DRIVER_EVENT,
    Channel.ENGINE: Witness.APPLICATION_LOG,
}
_ORDER = (Channel.DRIVER, Channel.KERNEL, Channel.ENGINE)
"""Who is heard first within a step: the driver names the GPU that the kernel line means."""


class RecordedLogs:
    """One run through the lines of a recording."""

    def __init__(self, fleet: RecordedFleet) -> None:
        self._fleet = fleet
        self._aliases = dict(fleet.aliases)
        self._driver_xids: dict[tuple[str, str | int], tuple[float, EntityId]] = {}
        self._events = LogEvents(cluster=CLUSTER, resolve=self._aliases.get)

    def events(self, rows: list[LogRow]) -> tuple[tuple[Event, ...], tuple[TopologyChange, ...]]:
        """The events of one step in time order, and the PCI addresses learnt."""
        lines = [line for row in rows if (line := self._line(row)) is not None]
        lines.sort(key=lambda line: _ORDER.index(line.channel))
        events: list[Event] = []
        learnt: list[TopologyChange] = []
        for line in lines:
            learnt += self._learn(line)
            event = self._events.event(line)
            if event is not None:
                events.append(event)
        events.sort(key=lambda event: event.time_s)
        return tuple(events), tuple(learnt)

    def _line(self, row: LogRow) -> LogLine | None:
        channel = _CHANNELS.get(row.channel)
        if channel is None:
            return None
        node = row.host or self._fleet.first_host
        text, witness = row.line, _WITNESSES[channel]
        if channel is Channel.KERNEL:
            kernel = parse_kernel_line(row.line)
            text, witness = kernel.text, kernel.witness(untold=witness)
        engine = self._engine(row, node) if channel is Channel.ENGINE else None
        return LogLine(row.ts, node, channel, text, witness, engine)

    def _engine(self, row: LogRow, node: str) -> EntityId | None:
        """The engine that the row names, else the only one of its host."""
        if row.engine:
            return self._fleet.aliases.get(row.engine, engine_id(row.engine))
        engines = self._fleet.engines_of(node)
        return engines[0] if len(engines) == 1 else None

    def _learn(self, line: LogLine) -> list[TopologyChange]:
        """What an Xid line tells about which GPU has which address."""
        match = match_line(line.text, line.channel)
        if match is None or "xid" not in match.fields:
            return []
        key = (line.node, match.fields["xid"])
        if line.channel is Channel.DRIVER:
            gpu = self._aliases.get(str(match.fields.get("gpu", "")))
            if gpu is not None:
                self._driver_xids[key] = (line.at_s, gpu)
            return []
        alias = pci_alias(line.node, pci_address(str(match.fields.get("pci", ""))))
        gpu = self._gpu_of(line, key)
        if gpu is None or alias in self._aliases:
            return []
        self._aliases[alias] = gpu
        return [TopologyChange(line.at_s, TopologyOp.ALIAS, gpu, alias)]

    def _gpu_of(self, line: LogLine, key: tuple[str, str | int]) -> EntityId | None:
        at_s, gpu = self._driver_xids.get(key, (float("-inf"), None))
        if gpu is not None and abs(line.at_s - at_s) <= _PAIR_S:
            return gpu
        gpus = self._fleet.gpus_of.get(line.node, ())
        return gpus[0] if len(gpus) == 1 else None
