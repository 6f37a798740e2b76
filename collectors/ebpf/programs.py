"""The programs of the object, in groups that load apart: a refused one takes no other along.

`collectors.ebpf.loaded` loads them, `collectors.ebpf.links` attaches them.
"""

from dataclasses import dataclass
from enum import StrEnum


class Library(StrEnum):
    """A library of processes whose functions are probed."""

    CUDA = "libcuda"
    NCCL = "libnccl"


class Group(StrEnum):
    """Programs that make sense only together."""

    MEMORY = "memory"
    DEVICES = "devices"
    WAITS = "waits"
    GRAPHS = "graphs"
    LAUNCHES = "launches"
    NCCL = "nccl"
    OOM = "oom"
    OOM_BEFORE_6_8 = "oom_before_6_8"
    RETRANSMITS = "retransmits"
    EXITS = "exits"
    STALLS = "stalls"
    XID = "xid"
    SXID = "sxid"


@dataclass(frozen=True, slots=True)
class Probe:
    """A pair of programs on functions of a library."""

    functions: tuple[str, ...]
    entry: str
    back: str = ""
    """The program for the return; empty: only the entry is looked at."""


@dataclass(frozen=True, slots=True)
class Programs:
    """What a group consists of: probes of one library, or programs that name their own place."""

    library: Library | None
    probes: tuple[Probe, ...] = ()
    kernel: tuple[str, ...] = ()
    instead_of: Group | None = None
    """Loaded only when that group was refused."""

    @property
    def names(self) -> frozenset[str]:
        """All programs of the group."""
        pairs = (name for probe in self.probes for name in (probe.entry, probe.back) if name)
        return frozenset((*self.kernel, *pairs))


def _both(*names: str) -> tuple[str, ...]:
    """A function and its variant for a default stream of each thread."""
    return tuple(variant for name in names for variant in (name, f"{name}_ptsz"))


PROGRAMS: dict[Group, Programs] = {
    Group.MEMORY: Programs(
        Library.CUDA,
        (
            Probe(
                (
                    "cuMemAlloc_v2",
                    "cuMemAllocManaged",
                    *_both("cuMemAllocAsync", "cuMemAllocFromPoolAsync"),
                ),
                "on_allocate",
                "on_allocated",
            ),
            Probe(("cuMemAllocPitch_v2",), "on_allocate_pitch", "on_allocated_pitch"),
            Probe(("cuMemFree_v2", *_both("cuMemFreeAsync")), "on_free", "on_freed"),
            Probe(("cuMemCreate",), "on_create", "on_created"),
            Probe(("cuMemRelease",), "on_release", "on_released"),
            Probe(("cuMemRetainAllocationHandle",), "on_retain", "on_retained"),
            Probe(("cuMemMap",), "on_map", "on_mapped"),
            Probe(("cuMemUnmap",), "on_unmap", "on_unmapped"),
        ),
    ),
    Group.DEVICES: Programs(
        Library.CUDA,
        (
            Probe(("cuCtxCreate_v2",), "on_context_create", "on_context_created"),
            Probe(("cuCtxCreate_v3",), "on_context_create_v3", "on_context_created"),
            Probe(("cuCtxCreate_v4",), "on_context_create_v4", "on_context_created"),
            Probe(("cuDevicePrimaryCtxRetain",), "on_context_retain", "on_context_retained"),
            Probe(("cuCtxSetCurrent", "cuCtxPushCurrent_v2"), "on_context_current"),
            Probe(("cuCtxPopCurrent_v2",), "on_context_pop"),
        ),
    ),
    Group.WAITS: Programs(
        Library.CUDA,
        (
            Probe(_both("cuStreamSynchronize"), "on_wait_stream", "on_waited_stream"),
            Probe(("cuEventSynchronize",), "on_wait_event", "on_waited_event"),
            Probe(("cuCtxSynchronize",), "on_wait_context", "on_waited_context"),
        ),
    ),
    Group.GRAPHS: Programs(Library.CUDA, (Probe(_both("cuGraphLaunch"), "on_graph_launch"),)),
    Group.LAUNCHES: Programs(
        Library.CUDA,
        (
            Probe(
                _both("cuLaunchKernel", "cuLaunchKernelEx", "cuLaunchCooperativeKernel"),
                "on_kernel_launch",
            ),
        ),
    ),
    Group.NCCL: Programs(
        Library.NCCL,
        (
            Probe(("ncclAllGather", "ncclSend", "ncclRecv", "ncclAlltoAll"), "on_enqueue_5"),
            Probe(
                (
                    "ncclAllReduce",
                    "ncclReduceScatter",
                    "ncclBroadcast",
                    "ncclGather",
                    "ncclScatter",
                ),
                "on_enqueue_6",
            ),
            Probe(("ncclReduce",), "on_enqueue_7"),
            Probe(("ncclCommInitRank", "ncclCommInitRankConfig"), "on_init_rank", "on_inited_rank"),
            Probe(("ncclCommAbort",), "on_abort"),
            Probe(("ncclCommDestroy",), "on_destroy"),
        ),
    ),
    Group.OOM: Programs(None, kernel=("on_oom_task",)),
    Group.OOM_BEFORE_6_8: Programs(None, kernel=("on_oom_pid",), instead_of=Group.OOM),
    Group.RETRANSMITS: Programs(None, kernel=("on_retransmit",)),
    Group.EXITS: Programs(None, kernel=("on_exit",)),
    Group.STALLS: Programs(None, kernel=("on_switch",)),
    Group.XID: Programs(None, kernel=("on_xid",)),
    Group.SXID: Programs(None, kernel=("on_sxid",)),
}
"""Every group, the ones that others depend on first."""

OFF_BY_DEFAULT = frozenset({Group.LAUNCHES})
"""A probe costs some 4 us of each launch on an H200; engines that use graphs launch rarely."""
