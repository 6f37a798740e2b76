"""From what the maps held to samples: totals that never fall although processes come and go, levels
that name each GPU once. Pure; called by `collectors.ebpf.collector` once a reading."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from collectors.ebpf.snapshot import ProcessUse, Snapshot
from fleetmend.model.entities import EntityId, EntityKind, kind_of

Row = tuple[float, str, str, float]
"""Time, entity, signal, value: what `SampleBatch.from_rows` takes."""
Place = Callable[[int], EntityId | None]
"""The one GPU that a process is on; None when it is on several, or nobody knows."""

COUNTED: Mapping[str, str] = {
    "allocated_bytes": "memory_allocated",
    "freed_bytes": "memory_freed",
    "failures": "allocation_failures",
    "unknown_frees": "unknown_frees",
    "graph_launches": "graph_launches",
    "kernel_launches": "kernel_launches",
}
"""Fields of `layout.Usage` that go out as counters: `gpu.<name>`, or `node.gpu_<name>` for
processes whose GPU is not known."""
ENQUEUES = "nccl_enqueues"
LEVELS = ("memory_outstanding", "sync_waits", "sync_wait_oldest")


def signal_name(entity: EntityId, what: str) -> str:
    """The signal of a count on a GPU or on a node."""
    return f"gpu.{what}" if kind_of(entity) is EntityKind.GPU else f"node.gpu_{what}"


@dataclass(frozen=True, slots=True)
class Failure:
    """Allocations of a process that failed since the last reading."""

    pid: int
    device: int
    count: int
    bytes: int
    """Size of the last of them."""
    code: int
    """Its CUresult; 2 is out of memory."""


class Counts:
    """The counts of one node. Grows with the node's GPUs and living processes alone."""

    def __init__(self, *, node: EntityId, place: Place) -> None:
        self._node = node
        self._place = place
        self._last: dict[tuple[int, int | str, str], int] = {}
        """(process, device or communicator, field) -> value at the last reading."""
        self._totals: dict[tuple[EntityId, str], int] = {}
        self._levels: set[EntityId] = set()
        """Entities that a level was said of: 0 is said when the last process is gone."""
        self._stalls = 0
        self._untracked = 0

    def rows(
        self, seen: Snapshot, *, at_s: float, monotonic_s: float, gone: Collection[int]
    ) -> tuple[list[Row], list[Failure]]:
        """Samples of a reading, and what failed in it. `gone`: processes that have ended: what they
        did counts, what they held does not."""
        failures = [failure for use in seen.uses if (failure := self._count(use))]
        for rank in seen.communicators:
            new = self._grown(rank.pid, f"nccl {rank.address}", ENQUEUES, rank.calls)
            self._add(self._entity(rank.pid), ENQUEUES, new)
        for pid, count in seen.stalls.items():
            self._stalls += self._grown(pid, 0, "stalls", count)
        levels = self._said(seen, monotonic_s=monotonic_s, gone=gone)
        sleepers = [since_s for pid, since_s in seen.blocked_s.items() if pid not in gone]
        node: dict[str, float] = {
            "node.gpu_stalls": self._stalls,
            "node.gpu_stall_oldest": max((monotonic_s - s for s in sleepers), default=0.0),
            "node.tcp_retransmits": seen.retransmits,
            "node.ebpf_lost": seen.lost + self._untracked,
        }
        rows: list[Row] = [(at_s, self._node, name, float(value)) for name, value in node.items()]
        rows += [
            (at_s, entity, signal_name(entity, what), float(value))
            for (entity, what), value in (*self._totals.items(), *levels.items())
        ]
        return rows, failures

    def totals(self) -> dict[tuple[EntityId, str], int]:
        """What was counted so far, by GPU or node and name; from any thread."""
        return dict(self._totals)

    def forget(self, gone: Collection[int]) -> None:
        """Drop what is only kept of processes that have ended."""
        self._last = {key: value for key, value in self._last.items() if key[0] not in gone}

    def _entity(self, pid: int) -> EntityId:
        return self._place(pid) or self._node

    def _grown(self, pid: int, part: int | str, name: str, value: int) -> int:
        """By how much a count grew; a smaller one began anew (another process of that number)."""
        before = self._last.get((pid, part, name), 0)
        self._last[pid, part, name] = value
        return value - before if value >= before else value

    def _add(self, entity: EntityId, what: str, new: int) -> None:
        self._totals[entity, what] = self._totals.get((entity, what), 0) + new

    def _count(self, use: ProcessUse) -> Failure | None:
        entity = self._entity(use.pid)
        failed = 0
        for name, what in COUNTED.items():
            new = self._grown(use.pid, use.device, name, use.counts[name])
            self._add(entity, what, new)
            failed = new if name == "failures" else failed
        self._untracked += self._grown(use.pid, use.device, "untracked", use.counts["untracked"])
        if not failed:
            return None
        size, code = use.counts["failed_bytes"], use.counts["failed_code"]
        return Failure(use.pid, use.device, failed, size, code)

    def _said(
        self, seen: Snapshot, *, monotonic_s: float, gone: Collection[int]
    ) -> dict[tuple[EntityId, str], float]:
        """The levels of every entity that ever had one."""
        held: dict[tuple[EntityId, str], float] = {}
        for use in seen.uses:
            key = (self._entity(use.pid), LEVELS[0])
            self._levels.add(key[0])
            if use.pid not in gone:
                held[key] = held.get(key, 0.0) + use.counts["outstanding"]
        for wait in seen.waits:
            if wait.pid in gone:
                continue
            entity = self._entity(wait.pid)
            self._levels.add(entity)
            held[entity, LEVELS[1]] = held.get((entity, LEVELS[1]), 0.0) + 1
            age_s = monotonic_s - wait.since_s
            held[entity, LEVELS[2]] = max(held.get((entity, LEVELS[2]), 0.0), age_s)
        return {
            (entity, what): held.get((entity, what), 0.0)
            for entity in sorted(self._levels)
            for what in LEVELS
        }
