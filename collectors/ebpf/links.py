"""Attaching loaded groups to library files and to the kernel's own places, and taking it all back.

`collectors.ebpf.probes` decides what is attached when.
"""

import ctypes as c
import errno
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from collectors.ebpf.elf import function_offsets
from collectors.ebpf.libbpf import BpfError, UprobeOptions
from collectors.ebpf.loaded import Loaded
from collectors.ebpf.multi import link
from collectors.ebpf.opening import opened, own_path
from collectors.ebpf.processes import MappedLibrary
from collectors.ebpf.programs import PROGRAMS, Group, Probe
from fleetmend.clock import Clock

_Places = Mapping[str, Sequence[int]]
"""Function by its offsets in the file."""
_EVERY_PROCESS = -1
_AT_ONCE = 32
"""Links that are let go at the same time: more than the programs of a library."""


@dataclass(slots=True)
class Attached:
    """Links to one place."""

    links: list[int] = field(default_factory=list)
    """Of libbpf, one for each function."""
    many: list[int] = field(default_factory=list)
    """Descriptors of links to many functions."""
    absent: list[str] = field(default_factory=list)
    """Functions that the library does not have; programs whose tracepoint this kernel has not."""
    failed: dict[str, str] = field(default_factory=dict)
    """Function or program by why it could not be attached."""


class Links:
    """All links of one agent, by place. Used by one thread."""

    def __init__(self, loaded: Loaded, clock: Clock) -> None:
        self._loaded = loaded
        self._clock = clock
        self._lib = loaded.lib

    def kernel(self) -> Attached:
        """Attach the loaded groups that name their own place."""
        made = Attached()
        for group in list(self._loaded.objects):
            for name in PROGRAMS[group].kernel:
                self._lib.words()
                try:
                    program = self._loaded.program(group, name)
                    made.links.append(self._lib.pointer("bpf_program__attach", program))
                except BpfError as error:
                    if error.code == errno.ENOENT:
                        made.absent.append(name)
                    else:
                        made.failed[name] = error.what
        return made

    def library(self, mapped: MappedLibrary) -> Attached | None:
        """Attach the loaded groups of a library to its file, for all processes that map this file
        now or later. The file is opened once and is exactly the one that was found, or nothing is
        attached and None given: offsets read from one file must never become breakpoints in
        another. A return is attached before its entry, so that no entry waits for a return that
        nobody sees."""
        probes = [
            (group, probe)
            for group in self._loaded.objects
            if PROGRAMS[group].library is mapped.library
            for probe in PROGRAMS[group].probes
        ]
        names = {name for _, probe in probes for name in probe.functions}
        with opened(mapped.root, mapped.inside, inode=mapped.inode) as descriptor:
            if descriptor is None:
                return None
            made = Attached()
            offsets = function_offsets(descriptor, names, monotonic_s=self._clock.monotonic_s)
            made.absent += sorted(names - offsets.keys())
            attach = self._probe_many if self._loaded.multi else self._probe
            for group, probe in probes:
                here = {name: offsets[name] for name in probe.functions if name in offsets}
                attach(made, own_path(descriptor), group, probe, here)
        return made

    def _probe_many(
        self, made: Attached, path: Path, group: Group, probe: Probe, here: _Places
    ) -> None:
        places = [offset for offsets in here.values() for offset in offsets]
        if not places:
            return
        try:
            for name, back in ((probe.back, True), (probe.entry, False)):
                if name:
                    program = self._loaded.program(group, name)
                    descriptor = self._lib.call("bpf_program__fd", program)
                    made.many.append(link(descriptor, path, places, back=back))
        except BpfError as error:
            made.failed.update(dict.fromkeys(here, error.what))

    def _probe(self, made: Attached, path: Path, group: Group, probe: Probe, here: _Places) -> None:
        for function, offsets in here.items():
            try:
                for offset in offsets:
                    if probe.back:
                        made.links.append(self._uprobe(path, group, probe.back, offset, back=True))
                    made.links.append(self._uprobe(path, group, probe.entry, offset, back=False))
            except BpfError as error:
                made.failed[function] = error.what

    def _uprobe(self, path: Path, group: Group, program: str, offset: int, *, back: bool) -> int:
        # By place and without a name: with one libbpf would read the file's tables itself.
        options = UprobeOptions(c.sizeof(UprobeOptions), 0, 0, back, None)
        self._lib.words()
        return self._lib.pointer(
            "bpf_program__attach_uprobe_opts",
            self._loaded.program(group, program),
            _EVERY_PROCESS,
            bytes(path),
            offset,
            c.byref(options),
        )

    def detach(self, *gone: Attached) -> int:
        """Destroy their links; the number that would not go. For each the kernel waits some 0.1 s
        until no processor is inside the program any more; links to many functions wait together,
        those of libbpf one after another, since the kernel holds a lock for all of them."""
        left = 0
        many: list[int] = []
        for made in gone:
            links, made.links = made.links, []
            left += sum(self._lib.asked("bpf_link__destroy", link) < 0 for link in links)
            many += made.many
            made.many = []
        if many:
            with ThreadPoolExecutor(min(len(many), _AT_ONCE)) as closing:
                list(closing.map(os.close, many))
        return left
