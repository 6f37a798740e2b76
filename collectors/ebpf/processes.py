"""Which processes have CUDA or NCCL mapped, and under which path their library can be opened: also
in containers, inside the process's own root in /proc. What a process maps is its own word: paths
are capped and must lead to the very file that is mapped."""

import os
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from collectors.ebpf.opening import Inode, held
from collectors.ebpf.programs import Library

_MAPS_BYTES_MAX = 4 << 20
"""Of /proc/<pid>/maps; engines have some 200 KB."""
_STAT_BYTES_MAX = 4096
_PATH_MAX = 4096
_AGAIN_S = 30.0
"""Longest time between two looks at the same process: a library may be loaded late."""
_RARELY_S = 300.0
"""The same for a process that holds nothing of a GPU, where somebody says which ones do."""
_NAME = re.compile(r"(libcuda|libnccl)\.so[.0-9]*")
_OCTAL = re.compile(rb"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class MappedLibrary:
    """A library file that a process has mapped."""

    library: Library
    inode: Inode
    path: Path
    """Through the process's root: for people. It is opened from `root` and `inside`."""
    root: Path
    """The root of the process in /proc; `/` for a library of the settings."""
    inside: str
    """The path as the process sees it."""


@dataclass(frozen=True, slots=True)
class Process:
    """A process with at least one of the libraries."""

    pid: int
    started: int
    """Clock ticks since boot: tells a pid's next owner apart."""
    name: str
    """What it calls itself, printable and capped."""
    libraries: tuple[MappedLibrary, ...]


def printable(text: bytes | str, length_max: int = 64) -> str:
    """A name that a process gave itself, safe to show: control characters escaped, capped."""
    words = text.decode(errors="backslashreplace") if isinstance(text, bytes) else text
    escaped = "".join(
        x if x.isprintable() else x.encode("unicode_escape").decode() for x in words[:length_max]
    )
    return escaped[:length_max]


def started_at(pid: int, proc: Path = Path("/proc")) -> int | None:
    """When a process started, in clock ticks; None when there is none of this pid."""
    try:
        file = os.open(f"{proc}/{pid}/stat", os.O_RDONLY)  # a third of what a path object costs
        try:
            text = os.read(file, _STAT_BYTES_MAX)
        finally:
            os.close(file)
        return int(text.rpartition(b")")[2].split()[19])  # the name before may hold anything
    except (OSError, ValueError, IndexError):
        return None


def library_at(
    inside: str, *, root: Path = Path("/"), number: int | None = None
) -> MappedLibrary | None:
    """The library at a path of the tree below `root`, if it is a plain file of a known name (and
    has the inode number that the process has mapped)."""
    match = _NAME.fullmatch(inside.rpartition("/")[2])
    if match is None:
        return None
    with held(root, inside) as place:
        if place is None or (number is not None and place[1][1] != number):
            return None
        path = root / inside.lstrip("/")
        return MappedLibrary(Library(match[1]), place[1], path, root, inside)


def libraries_of(pid: int, proc: Path = Path("/proc")) -> tuple[MappedLibrary, ...]:
    """The libraries that a process has mapped; empty when it is gone or may not be looked at."""
    try:
        with (proc / str(pid) / "maps").open("rb") as file:
            text = file.read(_MAPS_BYTES_MAX)
    except OSError:
        return ()
    found: dict[Inode, MappedLibrary] = {}
    for inside, number in dict.fromkeys(_mapped(text)):
        library = library_at(inside, root=proc / str(pid) / "root", number=number)
        if library is not None:
            found.setdefault(library.inode, library)
    return tuple(found.values())


def _mapped(text: bytes) -> Iterator[tuple[str, int]]:
    """Path and inode number of each line that may be one of the libraries."""
    for line in text.split(b"\n"):
        if b"/libcuda.so" not in line and b"/libnccl.so" not in line:
            continue
        parts = line.split(None, 5)
        if len(parts) != 6 or len(parts[5]) > _PATH_MAX or not parts[4].isdigit():
            continue
        name = _OCTAL.sub(lambda m: bytes((int(m[1], 8) & 255,)), parts[5])
        if b"/../" not in name and b"\0" not in name:
            yield os.fsdecode(name), int(parts[4])


def processes(proc: Path = Path("/proc")) -> list[Process]:
    """Every process with one of the libraries mapped, by pid: all of them looked at now."""
    return Finder(every_s=0.0, proc=proc)(0.0)


@dataclass(frozen=True, slots=True)
class _Look:
    """The last look at a process."""

    started: int
    wait_s: float
    again_s: float
    process: Process | None
    held: bool
    """Whether it was known to use a GPU."""


class Finder:
    """Finds processes again and again. Reading what a process maps takes some 0.2 ms, asking
    whether it is still the same one some 0.01 ms, and a node runs a thousand of them: who is known
    is looked at ever more rarely, down to `_AGAIN_S`; where the driver says who uses a GPU, these
    are looked at as soon as it does, and the others down to `_RARELY_S`."""

    def __init__(
        self,
        *,
        every_s: float,
        proc: Path = Path("/proc"),
        holders: Callable[[], Collection[int] | None] = lambda: None,
    ) -> None:
        """`every_s`: seconds from the first look at a process to the second. `holders`: the pids
        that the driver sees on a GPU; None where nobody knows."""
        self._every_s = every_s
        self._holders = holders
        self._proc = proc
        self._looks: dict[int, _Look] = {}

    def __call__(self, now_s: float) -> list[Process]:
        """Every process with one of the libraries mapped when it was last looked at, by pid.
        `now_s`: monotonic seconds."""
        pids = [int(entry) for entry in os.listdir(self._proc) if entry.isdigit()]
        holders = self._holders()
        looks = {pid: look for pid in pids if (look := self._look(pid, now_s, holders))}
        self._looks = looks
        found = (look.process for look in looks.values() if look.process is not None)
        return sorted(found, key=lambda process: process.pid)

    def _look(self, pid: int, now_s: float, holders: Collection[int] | None) -> _Look | None:
        """The newest look at a process; None when there is no such process any more."""
        last, wait_s = self._looks.get(pid), self._every_s
        holds = holders is not None and pid in holders
        news = holds and last is not None and not last.held
        if last is not None and last.process is None and now_s < last.again_s and not news:
            return last  # nothing of it is counted: a number given anew can wait as long
        started = started_at(pid, self._proc)
        if started is None:
            return None
        if last is not None and last.started == started:
            if now_s < last.again_s and not news:
                return last
            longest_s = _AGAIN_S if holders is None or holds else _RARELY_S
            wait_s = self._every_s if news else min(2 * last.wait_s, max(longest_s, self._every_s))
        process = _process(pid, started, self._proc)
        return _Look(started, wait_s, now_s + wait_s, process, holds)


def _process(pid: int, started: int, proc: Path) -> Process | None:
    libraries = libraries_of(pid, proc)
    if not libraries:
        return None
    try:
        name = (proc / str(pid) / "comm").read_bytes()
    except OSError:
        return None
    return Process(pid, started, printable(name.rstrip(b"\n")), libraries)
