"""What happens at one moment: the kernel says something, an engine dies, a rollout begins, a fault
is mended. Called by `simulator.world` each second.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fleetmend.model.entities import EntityId, EntityKind
from simulator.faults import Bump, Condition, Crash, LogLine, Mend, Rollout, Xid
from simulator.layout import GPUS_PER_NODE, workload_name

if TYPE_CHECKING:
    from simulator.outbreak import OpenFault
    from simulator.world import World

OOM_KILL = "oom_kill"
"""The signature that the node's own counter counts too."""


class Moments:
    """Carries out the moments of faults and of lawful changes."""

    def __init__(self, world: World) -> None:
        self._world = world

    def step(self, at_s: float) -> None:
        """Everything whose time has come."""
        for fault, moment in self._world.outbreak.due(at_s):
            match moment:
                case Xid():
                    self._xid(fault, moment, at_s)
                case LogLine():
                    self._log(fault, moment, at_s)
                case Condition():
                    self._condition(fault, moment, moment.status, at_s)
                case Bump():
                    self._bump(fault, moment)
                case Crash():
                    for engine in self._engines(fault):
                        self.crash(engine, at_s)
                case Rollout():
                    self.rollout(fault.index, at_s, slow=moment.slow, who="ci")

    def end(self, at_s: float) -> None:
        """Faults that end in this second, and what mending them means."""
        world = self._world
        empty = np.ones(len(world.layout.nodes), np.bool_)
        empty[np.unique(world.workload.node[world.workload.node >= 0])] = False
        for fault, mend in world.outbreak.settle(at_s, empty=empty & world.book.cordoned):
            for moment in fault.spec.moments:
                if isinstance(moment, Condition) and moment not in fault.pending:
                    self._condition(fault, moment, moment.healthy, at_s)
                if isinstance(moment, Rollout):
                    self.rollout(fault.index, at_s, slow=1.0, who="on-call")
            if Mend.REPAIR in fault.spec.mends and mend in (Mend.REPAIR, Mend.ON_CALL):
                self._repaired(fault, at_s)

    def deploy(self, pool: int, at_s: float) -> None:
        """A lawful rollout."""
        self.rollout(pool, at_s, slow=1.0, who="ci")
        target = self._world.layout.pool_ids[pool]
        self._world.outbreak.note_lawful("rollout", target, at_s=at_s)

    def rollout(self, pool: int, at_s: float, *, slow: float, who: str) -> None:
        """Begin a rollout and say so."""
        before, now = self._world.rollouts.begin(pool, slow=slow)
        self._world.journal.change(
            self._world.layout.pool_ids[pool],
            change="rollout",
            before=before,
            now=now,
            who=who,
            at_s=at_s,
            object=workload_name(self._world.layout, pool),
        )

    def crash(self, engine: int, at_s: float) -> None:
        """An engine's process dies with all that it has in hand."""
        self._world.queues.drop(np.array([engine]))
        self._world.workload.crash(engine, at_s)

    def _engines(self, fault: OpenFault) -> list[int]:
        found = self._world.reach.engines(fault.spec.target, fault.index)
        return [int(e) for e in found if self._world.workload.serving[e]]

    def _gpus(self, fault: OpenFault) -> list[int]:
        return [int(g) for g in self._world.reach.gpus(fault.spec.target, fault.index)]

    def _xid(self, fault: OpenFault, moment: Xid, at_s: float) -> None:
        for gpu in self._gpus(fault):
            self._world.journal.xid(
                gpu, moment.number, moment.text, process=moment.process, at_s=at_s
            )
            self._world.counters.xid_last[gpu] = moment.number
            if moment.recovery is not None:
                self._world.counters.recovery_action[gpu] = moment.recovery

    def _log(self, fault: OpenFault, moment: LogLine, at_s: float) -> None:
        for subject, node in self._about(fault, moment.about):
            self._world.journal.log(
                subject,
                node,
                signature=moment.signature,
                line=moment.line,
                witness=moment.witness,
                at_s=at_s,
            )
            if moment.signature == OOM_KILL:
                index = self._world.book.index(node)
                self._world.counters.oom_kills[index] += 1

    def _about(self, fault: OpenFault, kind: EntityKind) -> list[tuple[EntityId, str]]:
        """Who a line is about, with the node that it was read on."""
        world = self._world
        if kind is EntityKind.NODE:
            nodes = world.reach.nodes(fault.spec.target, fault.index)
            return [(world.layout.node_ids[n], world.layout.nodes[n]) for n in nodes]
        engines = world.reach.engines(fault.spec.target, fault.index).tolist()
        return [(world.names.entity(e), world.names.node(e)) for e in engines]

    def _condition(self, fault: OpenFault, moment: Condition, status: str, at_s: float) -> None:
        well = status == moment.healthy
        for node in self._world.reach.nodes(fault.spec.target, fault.index).tolist():
            self._world.book.set_ready(node, well)
            self._world.journal.condition(
                node,
                condition=moment.condition,
                status=status,
                reason="KubeletReady" if well else moment.reason,
                at_s=at_s,
            )

    def _bump(self, fault: OpenFault, moment: Bump) -> None:
        counters = self._world.counters
        for gpu in self._gpus(fault):
            if moment.counter == "row_remap_pending":
                counters.row_remap_pending[gpu] = moment.amount
            else:
                counters.gpu[moment.counter][gpu] += moment.amount

    def _repaired(self, fault: OpenFault, at_s: float) -> None:
        """A technician was at the node: it was rebooted, its drivers count from zero."""
        world = self._world
        for node in world.reach.nodes(fault.spec.target, fault.index).tolist():
            gpus = np.arange(node * GPUS_PER_NODE, (node + 1) * GPUS_PER_NODE)
            world.counters.forget_gpus(gpus)
            for engine in np.unique(world.workload.gpu_engine[gpus]):
                if engine >= 0:
                    self.crash(int(engine), at_s)
            world.journal.change(
                world.layout.node_ids[node],
                change="reboot",
                before="",
                now=f"repaired: {fault.spec.title}",
                who="technician",
                at_s=at_s,
                node=world.layout.nodes[node],
            )
