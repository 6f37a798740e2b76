"""The agent itself as a collector: that it lives, what it costs, what waits and what it has lost.

`fleetmend agent` runs one.
"""

import itertools
import threading
from collections.abc import Callable

from collectors.pods import Pods
from collectors.sink import Sink
from collectors.xid_desk import XidDesk
from fleetmend.cli.agent_figures import own_rows, own_use
from fleetmend.cli.agent_memory import give_back
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityKind, RelationKind, TopologyChange, TopologyOp, entity_id
from fleetmend.model.events import Event, EventType, event_id
from fleetmend.model.samples import SampleBatch
from fleetmend.settings import Settings
from fleetmend.streams.spool import SpooledLog, SpoolFigures

HEARTBEAT_S = 10.0
_GIVE_BACK_BEATS = 30
"""Beats between two times at which freed memory is given back: five minutes."""


class Heartbeat:
    """Beats for one agent."""

    def __init__(
        self,
        settings: Settings,
        *,
        node: str,
        spool: SpooledLog,
        desk: XidDesk,
        pods: Pods,
        failed: Callable[[], int],
        sink: Sink,
    ) -> None:
        self._settings = settings
        self._node = node
        self._spool = spool
        self._desk = desk
        self._pods = pods
        self._failed = failed
        self._sink = sink

    def run(self, clock: Clock, stop: threading.Event) -> None:
        """Beat until `stop` is set."""
        at_s = clock.now_s()
        for change in self._stated(at_s):
            self._sink.topology(change)
        for beat in itertools.count():
            if stop.is_set():
                return
            if beat % _GIVE_BACK_BEATS == 1:  # the second time everything has been loaded
                give_back()
            at_s, spool = max(at_s, clock.now_s()), self._spool.figures()
            node = entity_id(self._settings.cluster, EntityKind.NODE, self._node)
            rows = own_rows(at_s, node, own_use(), spool)
            self._sink.samples(SampleBatch.from_rows(rows), self._node)
            self._sink.event(self._beat(at_s, spool))
            clock.wait(stop, HEARTBEAT_S)

    def _stated(self, at_s: float) -> list[TopologyChange]:
        """The agent, and its node and pool where nobody else states them."""
        cluster, agent = self._settings.cluster, self._settings.agent
        own = entity_id(cluster, EntityKind.COLLECTOR, f"agent-{self._node}")
        node = entity_id(cluster, EntityKind.NODE, self._node)
        pool = entity_id(cluster, EntityKind.POOL, agent.pool)
        changes = [
            TopologyChange(at_s, TopologyOp.ENTITY, own),
            TopologyChange(at_s, TopologyOp.RELATION, own, node, RelationKind.OBSERVES),
        ]
        if agent.states_topology:
            changes += [
                TopologyChange(at_s, TopologyOp.ENTITY, pool),
                TopologyChange(at_s, TopologyOp.ENTITY, node, attributes={"pool": agent.pool}),
                TopologyChange(at_s, TopologyOp.RELATION, node, pool, RelationKind.MEMBER_OF),
            ]
        return changes

    def _beat(self, at_s: float, spool: SpoolFigures) -> Event:
        source = f"collector/agent-{self._node}"
        return Event(
            id=event_id(source, repr(at_s)),
            source=source,
            type=EventType.HEARTBEAT,
            time_s=at_s,
            subject=entity_id(self._settings.cluster, EntityKind.COLLECTOR, f"agent-{self._node}"),
            node=self._node,
            data={
                "spool_bytes": spool.waiting.size,
                "spool_records": spool.waiting.records,
                "spool_dropped_samples": spool.dropped["samples"],
                "spool_dropped_events": spool.dropped["events"],
                "spool_torn_bytes": spool.torn_bytes,
                "log_away": spool.away,
                "xid_witnesses": " ".join(sorted(self._desk.witnesses(EventType.XID))),
                "xids_late": self._desk.late,
                "xids_dropped": self._desk.dropped,
                "calls_failed": self._failed(),
                "kubelet": self._pods.failing or "ok",
            },
        )
