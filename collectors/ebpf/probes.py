"""The programs of one node while they run: loaded, attached, read, swept, taken away.

`collectors.ebpf.collector` drives it; nothing here knows the fleet.
"""

import ctypes as c
import os
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from collectors.ebpf.availability import BTF, Reason, Unavailable, hindrance, object_path
from collectors.ebpf.layout import MAPS, Record
from collectors.ebpf.libbpf import BpfError, libbpf
from collectors.ebpf.links import Attached, Links
from collectors.ebpf.loaded import Loaded, Refuse, load
from collectors.ebpf.maps import Maps, Records
from collectors.ebpf.multi import supported
from collectors.ebpf.opening import Inode
from collectors.ebpf.processes import MappedLibrary, Process, library_at
from collectors.ebpf.programs import OFF_BY_DEFAULT, PROGRAMS, Group
from collectors.ebpf.snapshot import Snapshot, read
from fleetmend.clock import SystemClock
from fleetmend.settings.ebpf import EbpfSettings

_BY_PID = {"live", "usages", "contexts", "communicators"}
_BY_THREAD = {"calls", "waits"}


def wanted_groups(settings: EbpfSettings) -> list[Group]:
    """The groups that these settings ask for, in the order of loading."""
    off = set(OFF_BY_DEFAULT)
    if settings.launches:
        off.discard(Group.LAUNCHES)
    if not settings.stalls:
        off.add(Group.STALLS)
    return [group for group in PROGRAMS if group not in off]


@dataclass(slots=True)
class State:
    """What is loaded and attached now, for the event that says so."""

    groups: tuple[str, ...] = ()
    refused: dict[str, str] = field(default_factory=dict)
    """Group, function or program by the kernel's words."""
    libraries: int = 0
    absent: tuple[str, ...] = ()
    """The kernel's places that are not there, such as the driver's tracepoints on a node without
    it."""
    functions_absent: int = 0
    """Functions that a library does not have: older or newer than the list."""
    over_limit: int = 0
    """Library files beyond the most that are probed."""


class Probes:
    """All programs of this node. One thread uses it."""

    def __init__(self, loaded: Loaded, settings: EbpfSettings) -> None:
        """Attaches the kernel's programs and the libraries of the settings; see `start`."""
        self._loaded = loaded
        self._links = Links(loaded, SystemClock())
        self._settings = settings
        self._maps = Maps(loaded.lib, loaded.fds)
        self._records = self._maps.records()
        self._maps.set_stall_limit(settings.stall_s)
        self._kernel = self._links.kernel()
        self._libraries: dict[Inode, Attached] = {}
        self._over_limit = 0
        self.follow(())

    @classmethod
    def start(
        cls,
        settings: EbpfSettings,
        *,
        path: Path | None = None,
        btf: Path = BTF,
        refuse: Refuse = lambda _group: None,
        multi: Callable[[], bool] = supported,
    ) -> "Probes | Reason":
        """Load and attach what this machine allows, or say why nothing is. `multi`: whether the
        kernel links a program to many functions at once. Never raises for what the machine
        lacks."""
        if not settings.enabled:
            return Reason(Unavailable.SWITCHED_OFF)
        path = path or object_path()
        reason = hindrance(path=path, btf=btf)
        if reason is not None:
            return reason
        try:
            groups = wanted_groups(settings)
            loaded = load(path, groups, lib=libbpf(), multi=multi(), refuse=refuse)
        except BpfError as error:
            return Reason(Unavailable.REFUSED, error.what)
        if not loaded.objects:
            return Reason(Unavailable.REFUSED, next(iter(loaded.refused.values()), ""))
        return cls(loaded, settings)

    @property
    def state(self) -> State:
        """What is loaded and attached now."""
        refused = {group.value: words for group, words in self._loaded.refused.items()}
        for made in (self._kernel, *self._libraries.values()):
            refused.update(made.failed)
        return State(
            groups=tuple(group.value for group in self._loaded.objects),
            refused=refused,
            libraries=len(self._libraries),
            absent=tuple(self._kernel.absent),
            functions_absent=sum(len(made.absent) for made in self._libraries.values()),
            over_limit=self._over_limit,
        )

    @property
    def tells_xids(self) -> bool:
        """Whether the driver's tracepoint for Xids is attached."""
        return self._attached(Group.XID)

    @property
    def tells_sxids(self) -> bool:
        """Whether the one for errors of switches is."""
        return self._attached(Group.SXID)

    def _attached(self, group: Group) -> bool:
        program = PROGRAMS[group].kernel[0]
        lost = program in self._kernel.absent or program in self._kernel.failed
        return group in self._loaded.objects and not lost

    @property
    def ring(self) -> Records:
        """What happens, for a listener."""
        return self._records

    def follow(self, found: Iterable[Process]) -> None:
        """Attach to the libraries of these processes and of the settings, and let go of files that
        neither has any more. All of a library's processes are counted, whoever was found."""
        wanted: dict[Inode, MappedLibrary] = {}
        for name in self._settings.libraries:
            library = library_at(os.path.abspath(name))
            if library is not None:
                wanted.setdefault(library.inode, library)
        for process in found:
            self._track(process.pid)
            for library in process.libraries:
                wanted.setdefault(library.inode, library)
        unused = [inode for inode in self._libraries if inode not in wanted]
        self._links.detach(*(self._libraries.pop(inode) for inode in unused))
        self._over_limit = 0
        for inode, library in wanted.items():
            if inode in self._libraries:
                continue
            if len(self._libraries) >= self._settings.libraries_max:
                self._over_limit += 1
                continue
            made = self._links.library(library)
            if made is not None:  # else its path was swapped: the next look may find it again
                self._libraries[inode] = made

    def _track(self, pid: int) -> None:
        """Exits and stalls of this process count from now on."""
        self._maps.put("tracked", c.c_uint32(pid), c.c_uint32(1))

    def snapshot(self) -> Snapshot:
        """All counts now. Raises BpfError when the maps cannot be read."""
        return read(self._maps)

    def records(self) -> list[Record]:
        """What happened since this was last asked."""
        return self._records.take()

    def sweep(self, gone: Collection[int]) -> None:
        """Forget processes that have ended, so that the maps hold the living alone."""
        if not gone:
            return
        for name in MAPS:
            if name in _BY_PID:
                keys = [key for key, _ in self._maps.entries(name) if key.pid in gone]
            elif name in _BY_THREAD:
                keys = [key for key, _ in self._maps.entries(name) if key.thread >> 32 in gone]
            elif name in {"tracked", "stalls"}:
                keys = [key for key, _ in self._maps.entries(name) if key.value in gone]
            elif name == "current_device":
                keys = [key for key, _ in self._maps.entries(name) if key.value >> 32 in gone]
            elif name == "blocked":
                keys = [key for key, value in self._maps.entries(name) if value.pid in gone]
            else:
                continue
            for key in keys:
                self._maps.delete(name, key)

    def close(self) -> int:
        """Detach and unload everything; the number of links that would not go. Afterwards nothing
        of it is left in the kernel."""
        left = self._links.detach(self._kernel, *self._libraries.values())
        self._libraries.clear()
        self._records.close()
        self._loaded.close()
        return left
