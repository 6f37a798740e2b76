"""What a reader of GPUs can do: `collectors.nvml.library` over the driver, tests over a recording.

Rows carry the names that the signal catalogue knows: DCGM's (`DCGM_FI_DEV_GPU_TEMP`) where
dcgm-exporter has the figure, else `nvml.field.<id>` and `nvml.gpm.<id>`, in those sources' units.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from fleetmend.errors import PortError


class NvmlFailure(StrEnum):
    """Why a call gave nothing; the words stand in events."""

    NOT_SUPPORTED = "not_supported"
    NO_PERMISSION = "no_permission"
    GPU_IS_LOST = "gpu_is_lost"
    RESET_REQUIRED = "reset_required"
    TIMEOUT = "timeout"
    """The driver gave up by itself."""
    HUNG = "hung"
    """The call did not come back within its deadline."""
    LIBRARY_ABSENT = "library_absent"
    DRIVER_ABSENT = "driver_absent"
    NO_GPU = "no_gpu"
    MISMATCH = "mismatch"
    """Library and kernel module are of two versions: an update without a reboot."""
    FAILED = "failed"
    """Anything else; the text says what."""


LASTING = frozenset({NvmlFailure.NOT_SUPPORTED, NvmlFailure.NO_PERMISSION})
"""Answers that stay: nobody asks again before the next inventory."""


class NvmlError(PortError):
    """A call that gave nothing."""

    def __init__(self, failure: NvmlFailure, *, call: str, text: str = "") -> None:
        super().__init__(text or failure.value, where=call)
        self.failure = failure
        self.call = call


@dataclass(frozen=True, slots=True)
class MigInstance:
    """A partition of a GPU."""

    number: int
    """The GPU instance's id, as in the kernel's lines and dcgm-exporter's `GPU_I_ID`."""
    uuid: str
    profile: str
    """`1g.18gb`, or empty."""


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU as it was found."""

    index: int
    uuid: str
    pci: str
    """As NVML writes it, `00000000:3B:00.0`."""
    model: str
    serial: str = ""
    instances: tuple[MigInstance, ...] = ()


@dataclass(frozen=True, slots=True)
class Row:
    """One figure; `instance` is the MIG instance's number, None for the board."""

    name: str
    value: float
    instance: int | None = None


@dataclass(frozen=True, slots=True)
class GpuProcess:
    """A process that holds memory of a GPU."""

    pid: int
    bytes: float
    """0 where the driver does not tell."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one call gave."""

    rows: tuple[Row, ...] = ()
    processes: tuple[GpuProcess, ...] = ()
    failed: Mapping[str, NvmlFailure] = field(default_factory=dict)
    """Parts of the call that gave nothing (`field.82`), each with its reason."""


@dataclass(frozen=True, slots=True)
class DriverXid:
    """An Xid from NVML's event set."""

    uuid: str
    """Empty when the driver does not say whose."""
    xid: int
    instance: int | None = None


class GpuReader(Protocol):
    """Every call may block for seconds when a GPU is lost: `collectors.nvml.watch` calls them.
    Errors: NvmlError."""

    def start(self) -> str:
        """Load library and driver; the driver's version."""
        ...

    def gpus(self) -> tuple[Gpu, ...]:
        """The GPUs and their MIG instances now."""
        ...

    def call(self, gpu: Gpu, name: str) -> Answer:
        """One call of `collectors.nvml.rates` for one GPU."""
        ...

    def wait_xid(self, timeout_s: float) -> DriverXid | None:
        """The next Xid, or None when there was none for so long."""
        ...

    def close(self) -> None:
        """Let go of the library."""
        ...
