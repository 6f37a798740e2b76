"""Nodes that a person takes out to work on: cordoned with a reason, emptied, rebooted, given back.

Stepped once a second by `simulator.world`, before power and lives. One node at a time; the reason
stands in a taint, as the cluster's collector tells it.
"""

import uuid
from enum import IntEnum

import numpy as np

from simulator.journal import Journal
from simulator.layout import GPUS_PER_NODE, Layout
from simulator.nodes import NodeBook
from simulator.outbreak import Outbreak
from simulator.pressure import Pressure
from simulator.reach import Reach
from simulator.retire import Retirement
from simulator.workload import NOWHERE, Workload

REASON = "maintenance=firmware:NoSchedule"
"""The taint that a person sets."""
PERSON = "kubectl-cordon"
UNREADY_S = 40.0
"""Seconds of silence after which the control plane calls a node unready (its default)."""


class Step(IntEnum):
    """How far the work on a node is."""

    EMPTYING = 0
    DOWN = 1


class Maintenance:
    """The one person, and the node in hand."""

    def __init__(
        self,
        layout: Layout,
        workload: Workload,
        book: NodeBook,
        outbreak: Outbreak,
        reach: Reach,
        retirement: Retirement,
        journal: Journal,
        rng: np.random.Generator,
    ) -> None:
        self._layout = layout
        self._set = layout.settings.lawful
        self._workload = workload
        self._book = book
        self._outbreak = outbreak
        self._reach = reach
        self._retirement = retirement
        self._journal = journal
        self._rng = rng
        self._node: int | None = None
        self._step = Step.EMPTYING
        self._down_s = 0.0
        self.changed: list[int] = []
        """Nodes whose object looks different since somebody last looked."""

    def step(self, at_s: float, pressure: Pressure) -> None:
        """Take a node, go on with it, or give it back; what is down has no power."""
        if self._node is None:
            every_s = self._set.maintenance_every_s
            if not every_s or self._rng.random() >= 1 / every_s:
                return
            self._take(at_s)
        if self._node is not None:
            self._go_on(self._node, at_s, pressure)

    def _take(self, at_s: float) -> None:
        """A node that serves, is in no fault and that nobody holds; its pool must have room."""
        busy = np.zeros(len(self._layout.nodes), np.bool_)
        for fault in self._outbreak.open:
            busy[self._reach.nodes(fault.spec.target, fault.index)] = True
        used = self._workload.gpu_engine.reshape(-1, GPUS_PER_NODE) != NOWHERE
        spare = np.bincount(
            self._layout.node_pool, ~used.any(axis=1) & self._book.open, len(self._layout.pools)
        )
        able = ~busy & self._book.open & used.any(axis=1) & (spare[self._layout.node_pool] > 0)
        if not able.any():
            return
        node = int(self._rng.choice(np.flatnonzero(able)))
        self._node, self._step = node, Step.EMPTYING
        self._mark(node, True)
        self._told(node, "cordon", "schedulable", "unschedulable", at_s)
        self._told(node, "taint", "", REASON, at_s)

    def _go_on(self, node: int, at_s: float, pressure: Pressure) -> None:
        if self._step is Step.EMPTYING:
            mine = np.flatnonzero(self._workload.node == node)
            if len(mine):
                # The next one goes when those before it serve again elsewhere.
                pool = self._layout.engine_pool == self._layout.node_pool[node]
                out = pool & self._workload.wanted
                out &= ~self._workload.serving | self._workload.leaving
                if not out.any():
                    self._retirement.begin(int(mine[0]), at_s)
                return
            self._step, self._down_s = Step.DOWN, at_s
        down_s = at_s - self._down_s
        if down_s < self._set.maintenance_s:
            pressure.press("node_off", np.array([node]), 1)
            pressure.press("node_unready", np.array([node]), 1)
            if down_s >= UNREADY_S and self._book.set_ready(node, False):
                self._condition(node, "Unknown", "NodeStatusUnknown", at_s)
            return
        self._node = None
        if self._book.set_ready(node, True):
            self._condition(node, "True", "KubeletReady", at_s)
        boots = [str(uuid.UUID(bytes=self._rng.bytes(16), version=4)) for _ in range(2)]
        self._told(node, "boot", boots[0], boots[1], at_s)
        self._mark(node, False)
        self._told(node, "untaint", REASON, "", at_s)
        self._told(node, "uncordon", "unschedulable", "schedulable", at_s)

    def _mark(self, node: int, out: bool) -> None:
        kept = self._book.objects[node]
        kept.unschedulable, kept.taint = out, REASON if out else ""
        kept.version += 1
        self.changed.append(node)

    def _condition(self, node: int, status: str, reason: str, at_s: float) -> None:
        self._journal.condition(node, condition="Ready", status=status, reason=reason, at_s=at_s)

    def _told(self, node: int, change: str, before: str, now: str, at_s: float) -> None:
        name = self._layout.nodes[node]
        self._journal.change(
            self._layout.node_ids[node],
            change=change,
            before=before,
            now=now,
            who=PERSON,
            at_s=at_s,
            node=name,
        )
