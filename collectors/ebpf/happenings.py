"""What is told once: waits that do not end, communicators that fall idle, processes that ended.

Pure; `collectors.ebpf.collector` makes events of it.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from collectors.ebpf.counts import Failure
from collectors.ebpf.layout import OOM_VICTIM, PROCESS_EXIT, Record
from collectors.ebpf.processes import printable
from collectors.ebpf.snapshot import Communicator, OpenWait, Snapshot

Value = str | int | float | bool


class What(StrEnum):
    """What a process event says."""

    ALLOCATION_FAILED = "allocation_failed"
    WAIT_STUCK = "wait_stuck"
    """A synchronisation was entered and has not returned."""
    WAIT_OVER = "wait_over"
    """It returned after all, or its process ended."""
    COMMUNICATOR = "communicator"
    """An NCCL rank went from putting calls in to silence, or back, or gave up."""
    EXIT = "exit"
    OOM_VICTIM = "oom_victim"


@dataclass(frozen=True, slots=True)
class Happening:
    """One thing to tell."""

    what: What
    pid: int
    identity: str
    """What makes it itself, beyond process and moment."""
    monotonic_s: float
    process: str = ""
    """The name that the kernel gave with it."""
    data: Mapping[str, Value] = field(default_factory=dict)


def of_failures(failures: Collection[Failure], monotonic_s: float) -> Iterator[Happening]:
    """Failed allocations: one for each process and device and reading, however many failed."""
    for failed in failures:
        data: dict[str, Value] = {
            "failures": failed.count,
            "bytes": failed.bytes,
            "code": failed.code,
            "device": failed.device,
        }
        yield Happening(
            What.ALLOCATION_FAILED, failed.pid, f"device {failed.device}", monotonic_s, data=data
        )


def of_record(record: Record) -> Happening | None:
    """A process that ended or was chosen to end; None for the driver's reports."""
    at_s, name = record.at_ns * 1e-9, printable(record.name)
    if record.kind == OOM_VICTIM:
        return Happening(What.OOM_VICTIM, record.pid, "oom", at_s, name)
    if record.kind == PROCESS_EXIT:
        # wait(2)'s form: the signal in the low seven bits, the status above them
        data: dict[str, Value] = {
            "status": record.code >> 8 & 0xFF,
            "signal": record.code & 0x7F,
        }
        return Happening(What.EXIT, record.pid, "exit", at_s, name, data)
    return None


class Stuck:
    """Waits and communicators that were told as stuck or idle, so that each is told once."""

    def __init__(self, *, after_s: float) -> None:
        self._after_s = after_s
        self._waits: dict[tuple[int, float], OpenWait] = {}
        self._idle: dict[tuple[int, int], bool] = {}
        self._aborted: set[tuple[int, int]] = set()

    def changes(self, seen: Snapshot, monotonic_s: float) -> Iterator[Happening]:
        """What became stuck, idle or active again since the last reading."""
        yield from self._wait_changes(seen, monotonic_s)
        yield from self._communicator_changes(seen, monotonic_s)

    def _wait_changes(self, seen: Snapshot, monotonic_s: float) -> Iterator[Happening]:
        open_now = {(wait.thread, wait.since_s): wait for wait in seen.waits}
        for key, wait in open_now.items():
            if key not in self._waits and monotonic_s - wait.since_s >= self._after_s:
                self._waits[key] = wait
                yield _wait(What.WAIT_STUCK, wait, monotonic_s)
        for key in [key for key in self._waits if key not in open_now]:
            yield _wait(What.WAIT_OVER, self._waits.pop(key), monotonic_s)

    def _communicator_changes(self, seen: Snapshot, monotonic_s: float) -> Iterator[Happening]:
        here = {(rank.pid, rank.address): rank for rank in seen.communicators}
        for key, rank in here.items():
            idle = rank.calls > 0 and monotonic_s - rank.last_s >= self._after_s
            given_up = rank.aborted and key not in self._aborted
            if idle != self._idle.get(key, False) or given_up:
                yield _communicator(rank, monotonic_s, idle=idle)
            self._idle[key] = idle
            if rank.aborted:
                self._aborted.add(key)
        self._idle = {key: idle for key, idle in self._idle.items() if key in here}
        self._aborted &= here.keys()


def _wait(what: What, wait: OpenWait, monotonic_s: float) -> Happening:
    data: dict[str, Value] = {
        "on": wait.on,
        "thread": wait.thread,
        "device": wait.device,
        "duration_s": round(monotonic_s - wait.since_s, 3),
    }
    return Happening(what, wait.pid, f"{wait.thread} {wait.since_s!r}", monotonic_s, data=data)


def _communicator(rank: Communicator, monotonic_s: float, *, idle: bool) -> Happening:
    data: dict[str, Value] = {
        "state": "aborted" if rank.aborted else "idle" if idle else "active",
        "communicator": rank.identity,
        "rank": rank.rank,
        "ranks": rank.ranks,
        "device": rank.device,
        "calls": rank.calls,
        "quiet_s": round(monotonic_s - rank.last_s, 3) if rank.calls else 0.0,
    }
    identity = f"{rank.address:x} {rank.calls}"
    return Happening(What.COMMUNICATOR, rank.pid, identity, monotonic_s, data=data)
