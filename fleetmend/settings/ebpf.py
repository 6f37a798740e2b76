"""Settings of the eBPF programs on a node."""

from pydantic import Field

from fleetmend.settings.section import Section


class EbpfSettings(Section):
    """Counts taken in the kernel and at the driver API of processes."""

    enabled: bool = True
    """Whether programs are loaded. Where the node does not allow it, `node.ebpf_available` is 0, an
    event says why, and everything else runs."""
    launches: bool = False
    """Whether single kernel launches are counted. Off: the probe adds some 4 us to each launch on
    an H200; graph launches, which engines decode with, are counted anyway."""
    stalls: bool = True
    """Whether uninterruptible sleeps of GPU processes are measured. It looks at each context switch
    of the node, some 0.2 us."""
    interval_s: float = Field(default=1.0, ge=0.1, le=10)
    """Seconds between readings of the counts."""
    scan_s: float = Field(default=5.0, ge=0.5, le=300)
    """Seconds between looks for processes that have the libraries mapped. What a container's NCCL
    did before it was found is not counted."""
    libraries: tuple[str, ...] = (
        "/usr/lib/x86_64-linux-gnu/libcuda.so.1",
        "/usr/lib64/libcuda.so.1",
        "/usr/local/nvidia/lib64/libcuda.so.1",
        "/run/nvidia/driver/usr/lib/x86_64-linux-gnu/libcuda.so.1",
    )
    """Files that are probed whether a process has them mapped or not, so that a process is counted
    from its first call on. The driver's library is one file for the host and its containers."""
    libraries_max: int = Field(default=64, ge=1, le=1024)
    """Most library files that are probed at once; the event counts what goes beyond. Each costs
    some 40 links of the kernel."""
    wait_stuck_s: float = Field(default=30.0, ge=1)
    """Seconds after which a synchronisation that has not returned is told as an event, and after
    which a communicator without a new call counts as idle. 30: longer than the longest prefill."""
    stall_s: float = Field(default=0.5, ge=0.01)
    """Seconds from which on an uninterruptible sleep counts as a stall. 0.5: a disk under load
    stays below it, a driver that waits for its firmware does not."""
