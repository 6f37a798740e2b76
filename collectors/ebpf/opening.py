"""Opening a file that a process names, inside the root of that process and exactly once.

What a container maps is its own word, and it may swap the path between two looks. So the path is
walked by the kernel as if the root of the process were the whole of the tree (a link to `/lib` of
the node leads into the container's), and everything that follows is done with the one descriptor
that this gave. `collectors.ebpf.processes` looks with it, `collectors.ebpf.links` attaches.
"""

import ctypes as c
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OPENAT2 = 437
"""The number of the system call on every architecture (since Linux 5.6)."""
_NO_MAGIC_LINKS, _IN_ROOT = 0x02, 0x10
"""RESOLVE_NO_MAGICLINKS and RESOLVE_IN_ROOT of openat2(2)."""

Inode = tuple[int, int]
"""Device and number."""


class _How(c.Structure):
    """`struct open_how`."""

    _fields_ = (("flags", c.c_uint64), ("mode", c.c_uint64), ("resolve", c.c_uint64))


@contextmanager
def held(root: Path, inside: str) -> Iterator[tuple[int, Inode] | None]:
    """A place in the tree below `root` that is held but not opened, so that no pipe blocks and no
    device acts, with its inode; None when it is no plain file or cannot be reached."""
    descriptor = _place(root, inside)
    if descriptor is None:
        yield None
        return
    try:
        found = os.fstat(descriptor)
        plain = stat.S_ISREG(found.st_mode)
        yield (descriptor, (found.st_dev, found.st_ino)) if plain else None
    finally:
        os.close(descriptor)


@contextmanager
def opened(root: Path, inside: str, *, inode: Inode) -> Iterator[int | None]:
    """The plain file of this inode, to be read; None when the path leads to another one by now."""
    with held(root, inside) as place:
        if place is None or place[1] != inode:
            yield None
            return
        try:  # by the descriptor: the path is not walked again
            descriptor = os.open(own_path(place[0]), os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError:
            yield None
            return
        try:
            yield descriptor
        finally:
            os.close(descriptor)


def own_path(descriptor: int) -> Path:
    """A path that leads this process, and the kernel on its behalf, to an open file."""
    return Path(f"/proc/self/fd/{descriptor}")


def _place(root: Path, inside: str) -> int | None:
    try:
        top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        call = c.CDLL(None, use_errno=True).syscall
        call.restype = c.c_long
        how = _How(os.O_PATH | os.O_CLOEXEC, 0, _NO_MAGIC_LINKS | _IN_ROOT)
        path = c.c_char_p(os.fsencode(inside.lstrip("/")))
        made = int(
            call(c.c_long(_OPENAT2), c.c_long(top), path, c.byref(how), c.c_size_t(c.sizeof(how)))
        )
    finally:
        os.close(top)
    return None if made < 0 else made
