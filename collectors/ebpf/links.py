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
from collectors.ebpf.programs import PROGRAMS, Group, Library, Probe

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

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
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

    def library(self, path: Path, library: Library) -> Attached:
        """Attach the loaded groups of a library to the file at `path`, for all processes that map
        this file now or later. A return is attached before its entry, so that no entry waits for a
        return that nobody sees."""
        made = Attached()
        probes = [
            (group, probe)
            for group in self._loaded.objects
            if PROGRAMS[group].library is library
            for probe in PROGRAMS[group].probes
        ]
        if not self._loaded.multi:
            for group, probe in probes:
                self._probe(made, path, group, probe)
            return made
        names = {name for _, probe in probes for name in probe.functions}
        offsets = function_offsets(path, names)
        made.absent += sorted(names - offsets.keys())
        for group, probe in probes:
            self._probe_many(made, path, group, probe, offsets)
        return made

    def _probe_many(
        self,
        made: Attached,
        path: Path,
        group: Group,
        probe: Probe,
        offsets: Mapping[str, Sequence[int]],
    ) -> None:
        here = [name for name in probe.functions if name in offsets]
        places = [offset for name in here for offset in offsets[name]]
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

    def _probe(self, made: Attached, path: Path, group: Group, probe: Probe) -> None:
        for function in probe.functions:
            try:
                if probe.back:
                    made.links.append(self._uprobe(path, group, probe.back, function, back=True))
                made.links.append(self._uprobe(path, group, probe.entry, function, back=False))
            except BpfError as error:
                if error.code == errno.ENOENT:
                    made.absent.append(function)
                else:
                    made.failed[function] = error.what

    def _uprobe(self, path: Path, group: Group, program: str, function: str, *, back: bool) -> int:
        options = UprobeOptions(c.sizeof(UprobeOptions), 0, 0, back, function.encode())
        self._lib.words()
        return self._lib.pointer(
            "bpf_program__attach_uprobe_opts",
            self._loaded.program(group, program),
            _EVERY_PROCESS,
            bytes(path),
            0,
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
