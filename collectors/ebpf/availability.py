"""Whether this machine lets eBPF programs run, and if not, why: asked once, when the agent starts.

A node without it is heard by everything else; `node.ebpf_available` says 0 and the event says why.
"""

import os
import platform
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from collectors.ebpf.libbpf import BpfError, libbpf

BTF = Path("/sys/kernel/btf/vmlinux")
_STATUS = Path("/proc/self/status")
_SYS_ADMIN, _PERFMON, _BPF = 21, 38, 39
"""Numbers of capabilities, linux/capability.h."""


class Unavailable(StrEnum):
    """Why nothing is loaded."""

    SWITCHED_OFF = "switched_off"
    NO_OBJECT = "no_object"
    """No object was built for this kind of processor."""
    NO_LIBRARY = "no_libbpf"
    NO_BTF = "no_btf"
    """The kernel does not describe its types: built without CONFIG_DEBUG_INFO_BTF, or hidden."""
    NO_PRIVILEGES = "no_privileges"
    """Neither root's CAP_SYS_ADMIN nor CAP_BPF and CAP_PERFMON."""
    REFUSED = "refused"
    """The kernel refused every group."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A reason with what the machine itself said."""

    why: Unavailable
    words: str = ""


def object_path(folder: Path = Path(__file__).parent) -> Path:
    """Where the object for this machine's processor lies (whether there is one or not)."""
    return folder / f"gpu.{platform.machine()}.bpf.o"


def may_load(status: Path = _STATUS) -> bool:
    """Whether this process holds the capabilities that loading and attaching need."""
    try:
        lines = status.read_text().splitlines()
        (text,) = (line.split()[1] for line in lines if line.startswith("CapEff:"))
        held = int(text, 16)
    except (OSError, ValueError, IndexError):
        return os.geteuid() == 0
    return bool(held >> _SYS_ADMIN & 1) or bool(held >> _BPF & 1 and held >> _PERFMON & 1)


def hindrance(*, path: Path, btf: Path = BTF, status: Path = _STATUS) -> Reason | None:
    """What stands in the way; None when loading may be tried."""
    if not path.is_file():
        return Reason(Unavailable.NO_OBJECT, path.name)
    if not btf.is_file():
        return Reason(Unavailable.NO_BTF, str(btf))
    if not may_load(status):
        return Reason(Unavailable.NO_PRIVILEGES, "needs CAP_BPF and CAP_PERFMON, or root")
    try:
        libbpf()
    except BpfError as error:
        return Reason(Unavailable.NO_LIBRARY, error.what)
    return None
