"""One link of the kernel on many functions of a file (since Linux 6.6), by the system call itself:
libbpf knows it from 1.3 on, and distributions carry older ones.

Beside a link for each function it is attached in one step and let go without the lock that all
trace events share: 5 s become some tenths. Used by `collectors.ebpf.links`.
"""

import ctypes as c
import errno
import os
import platform
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from collectors.ebpf.libbpf import BpfError

ATTACH_TYPE = 48
"""BPF_TRACE_UPROBE_MULTI: programs must be loaded for it."""
_SYSCALLS = {"x86_64": 321, "aarch64": 280}
_PROG_LOAD, _LINK_CREATE = 5, 28
_KPROBE = 2
_RETURN = 1
_NOTHING = bytes((0xB7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0))
"""`return 0`."""
_ANYWHERE = Path("/")


class _Load(c.Structure):
    """The head of `union bpf_attr` for BPF_PROG_LOAD."""

    _fields_ = (
        ("kind", c.c_uint32),
        ("instructions", c.c_uint32),
        ("code", c.c_char_p),
        ("license", c.c_char_p),
        ("log", c.c_uint64 * 3),
        ("name", c.c_char * 16),
        ("device", c.c_uint32),
        ("attach_type", c.c_uint32),
    )


class _Create(c.Structure):
    """The same for BPF_LINK_CREATE of many functions."""

    _fields_ = (
        ("program", c.c_uint32),
        ("target", c.c_uint32),
        ("attach_type", c.c_uint32),
        ("flags", c.c_uint32),
        ("path", c.c_char_p),
        ("offsets", c.c_void_p),
        ("counters", c.c_void_p),
        ("cookies", c.c_void_p),
        ("count", c.c_uint32),
        ("multi_flags", c.c_uint32),
        ("pid", c.c_uint32),
        ("pad", c.c_uint32),
    )


def _bpf(command: int, about: _Load | _Create) -> int:
    """The system call; a descriptor, or minus the errno."""
    call = c.CDLL(None, use_errno=True).syscall
    call.restype = c.c_long
    number = _SYSCALLS[platform.machine()]
    result = int(
        call(c.c_long(number), c.c_long(command), c.byref(about), c.c_long(c.sizeof(about)))
    )
    return -c.get_errno() if result < 0 else result


def link(program: int, path: Path, offsets: Sequence[int], *, back: bool) -> int:
    """A link of a program (its descriptor) to these places of a file, for every process: a
    descriptor. Raises BpfError."""
    places = (c.c_uint64 * len(offsets))(*offsets)
    about = _Create(
        program=program,
        attach_type=ATTACH_TYPE,
        path=bytes(path),
        offsets=c.addressof(places),
        count=len(offsets),
        multi_flags=_RETURN if back else 0,
    )
    made = _bpf(_LINK_CREATE, about)
    if made < 0:
        raise BpfError("link to many functions", -made)
    return made


@cache
def supported() -> bool:
    """Whether this kernel has such links: asked with a program that does nothing and a place where
    there is no file, as libbpf does."""
    if platform.machine() not in _SYSCALLS:
        return False
    about = _Load(
        kind=_KPROBE,
        instructions=len(_NOTHING) // 8,
        code=_NOTHING,
        license=b"GPL",
        attach_type=ATTACH_TYPE,
    )
    program = _bpf(_PROG_LOAD, about)
    if program < 0:
        return False
    try:
        os.close(link(program, _ANYWHERE, [0], back=False))
    except BpfError as error:
        return error.code == errno.EBADF
    finally:
        os.close(program)
    return False
