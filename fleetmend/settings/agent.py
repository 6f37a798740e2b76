"""Settings of the node agent: what one node reads of itself, and what it keeps while the log is
away."""

from typing import Self

from pydantic import Field, model_validator

from fleetmend.settings.ebpf import EbpfSettings
from fleetmend.settings.section import Section


class NvmlSettings(Section):
    """GPUs through the driver's own library."""

    enabled: bool = True
    """Whether GPUs are read. A node without any says so once and goes on."""
    library: str = ""
    """File of the library; empty: `libnvidia-ml.so.1`, wherever the loader finds it."""
    period_s: float = Field(default=1.0, ge=0.2, le=60)
    """Seconds between two reads of utilisation, clocks and what holds them down, power,
    temperatures, memory and profiling metrics. 1: hangs and throttling show within seconds."""
    slow_s: float = Field(default=10.0, ge=1, le=600)
    """Seconds between two reads of ECC, remapped rows, the PCIe link and NVLink counters: they move
    rarely, and hundreds of microseconds of processor time together are too much each second."""
    dear_s: float = Field(default=60.0, ge=1, le=3600)
    """Seconds between two reads of what costs the driver 0.5 to 1.5 ms each: throttle times, PCIe
    errors, the engine's share of time. 60: each second they would take 3 % of a core for eight
    GPUs. All but the last are counters, so nothing between two reads is lost."""
    static_s: float = Field(default=60.0, ge=1, le=3600)
    """Seconds between two reads of what hardly changes: limits, the widest link, spare rows."""
    rare_s: float = Field(default=300.0, ge=1, le=3600)
    """Seconds between two reads of the energy counter, which costs the driver up to 5 ms: power is
    read each second, so it serves bills, not detection."""
    processes_s: float = Field(default=5.0, ge=1, le=600)
    """Seconds between two looks at who holds memory of a GPU."""
    inventory_s: float = Field(default=300.0, ge=5, le=86_400)
    """Seconds after which GPUs and MIG instances are counted anew, and calls that a GPU did not
    know are tried again. Without any GPU the driver is looked for as often."""
    send_s: float = Field(default=5.0, ge=0.2, le=60)
    """Seconds that samples are gathered before they are sent. 5: small batches cost those who
    decode them an order of magnitude; ticks wait as long for this node's numbers. Events go at
    once."""
    deadline_s: float = Field(default=2.0, ge=0.1, le=60)
    """Seconds that all calls of one GPU may take together. 2: a healthy round takes milliseconds;
    beyond, the GPU counts as hung and the others go on."""


class PodsSettings(Section):
    """Who owns which process."""

    socket: str = "/var/lib/kubelet/pod-resources/kubelet.sock"
    """The kubelet's pod-resources socket, which says which pod has which GPU; where it is not
    there, processes are told apart by their control group alone. Empty: not asked."""
    refresh_s: float = Field(default=10.0, ge=1, le=600)
    """Seconds that an answer of the kubelet is believed."""
    timeout_s: float = Field(default=2.0, gt=0, le=30)
    """Seconds for the whole answer."""
    answer_bytes_max: int = Field(default=4_194_304, ge=65_536)
    """Most bytes of an answer: 4 MiB is what gRPC takes by default, some thousand containers."""


class SpoolSettings(Section):
    """What is kept on disk while the log is away."""

    path: str = "var/spool"
    """Folder of the spool; one agent alone may use it."""
    bytes_max: int = Field(default=268_435_456, ge=2_097_152)
    """Most bytes on disk. 256 MiB: some ten hours of a node with eight GPUs. Beyond, the oldest
    samples go first, events only where no samples are left; both are counted."""
    segment_bytes: int = Field(default=1_048_576, ge=65_536)
    """Bytes of one file; what is dropped is dropped by files."""
    retry_s: float = Field(default=2.0, gt=0, le=300)
    """Seconds between tries while the log does not answer."""

    @model_validator(mode="after")
    def _holds_some_segments(self) -> Self:
        if self.bytes_max < 8 * self.segment_bytes:
            raise ValueError("bytes_max must hold at least eight segments")
        return self


class AgentSettings(Section):
    """The node agent, `fleetmend agent`."""

    node: str = ""
    """Name of the node, as the cluster knows it; empty: the variable NODE_NAME, else the host's
    name."""
    pool: str = "default"
    """Pool of the node where no cluster API tells."""
    states_topology: bool = False
    """Whether the agent also states its node and pool. Off where the cluster's API does."""
    nvml: NvmlSettings = NvmlSettings()
    """GPUs."""
    pods: PodsSettings = PodsSettings()
    """Who owns which process."""
    ebpf: EbpfSettings = EbpfSettings()
    """What is counted in the kernel and at the driver API of processes."""
    kernel_log: str = "/dev/kmsg"
    """The kernel log; empty: not read."""
    xid_hold_s: float = Field(default=0.08, ge=0, le=5)
    """Longest time that an Xid waits for other witnesses before it is sent. 0.08: each is heard as
    it tells, within some milliseconds; the event is out within a tenth of a second also where one
    says nothing, and the express lane waits for it."""
    spool: SpoolSettings = SpoolSettings()
    """What is kept on disk while the log is away."""
