"""What the maps held at one moment, as plain values; made by `collectors.ebpf.probes`, judged by
nobody, counted by `collectors.ebpf.counts`."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from collectors.ebpf.layout import LOST_CALLS, LOST_RECORDS, RETRANSMITS, WAIT_KINDS
from collectors.ebpf.maps import Maps

UNKNOWN_DEVICE = -1
_NS = 1e-9


@dataclass(frozen=True, slots=True)
class ProcessUse:
    """What a process did with one device since it was first seen."""

    pid: int
    device: int
    """The process's own number of the device; -1 when its context was made before the probes."""
    counts: Mapping[str, int]
    """The fields of `layout.Usage`."""


@dataclass(frozen=True, slots=True)
class OpenWait:
    """A synchronisation that was entered and has not returned."""

    pid: int
    thread: int
    device: int
    on: str
    """`stream`, `event` or `context`."""
    since_s: float
    """Monotonic seconds."""


@dataclass(frozen=True, slots=True)
class Communicator:
    """One rank of an NCCL communicator."""

    pid: int
    address: int
    identity: str
    """The same on all ranks; empty when it was made before the probes or by a split."""
    rank: int
    ranks: int
    """-1 when not known, as for `rank`."""
    device: int
    calls: int
    """Collectives and point-to-point calls put in."""
    last_s: float
    """Monotonic seconds of the newest of them; 0 when there was none."""
    aborted: bool


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    uses: tuple[ProcessUse, ...] = ()
    waits: tuple[OpenWait, ...] = ()
    communicators: tuple[Communicator, ...] = ()
    stalls: Mapping[int, int] = field(default_factory=dict)
    """Ended uninterruptible sleeps over the limit, by pid."""
    blocked_s: Mapping[int, float] = field(default_factory=dict)
    """Monotonic seconds since which the longest sleeper of a pid sleeps."""
    retransmits: int = 0
    lost: int = 0
    """Records and calls for which there was no room."""


def read(maps: Maps) -> Snapshot:
    """What the maps hold now. Raises BpfError when they cannot be read."""
    # Before the sleepers: who has just woken up is then in one of the two at most.
    stalls = {int(key.value): int(value.count) for key, value in maps.entries("stalls")}
    blocked: dict[int, float] = {}
    for _, value in maps.entries("blocked"):
        since_s = value.since_ns * _NS
        blocked[value.pid] = min(since_s, blocked.get(value.pid, since_s))
    return Snapshot(
        uses=tuple(
            ProcessUse(
                key.pid, key.device, {name: getattr(value, name) for name, *_ in value._fields_}
            )
            for key, value in maps.entries("usages")
        ),
        waits=tuple(
            OpenWait(
                key.thread >> 32,
                key.thread & 0xFFFF_FFFF,
                value.device,
                WAIT_KINDS.get(key.kind, ""),
                value.since_ns * _NS,
            )
            for key, value in maps.entries("waits")
        ),
        communicators=tuple(
            Communicator(
                key.pid,
                key.address,
                f"{value.identity:016x}" if value.identity else "",
                value.rank,
                value.ranks,
                value.device,
                value.calls,
                value.last_ns * _NS,
                value.aborted > 0,
            )
            for key, value in maps.entries("communicators")
        ),
        stalls=stalls,
        blocked_s=blocked,
        retransmits=maps.total(RETRANSMITS),
        lost=maps.total(LOST_RECORDS) + maps.total(LOST_CALLS),
    )
