"""Loading the object group by group: each group is an object of its own that shares the maps of the
first, so a program that the kernel refuses takes nothing but its own group along."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from collectors.ebpf.layout import MAPS
from collectors.ebpf.libbpf import BpfError, Libbpf
from collectors.ebpf.multi import ATTACH_TYPE
from collectors.ebpf.programs import PROGRAMS, Group

RING = "records"
Refuse = Callable[[Group], None]
"""Raises BpfError for a group that is to fail: how tests play a kernel that says no."""


@dataclass(slots=True)
class Loaded:
    """What the kernel took."""

    lib: Libbpf
    multi: bool
    """Whether programs for libraries are loaded for links to many functions at once."""
    objects: dict[Group, int] = field(default_factory=dict)
    fds: dict[str, int] = field(default_factory=dict)
    refused: dict[Group, str] = field(default_factory=dict)
    """Why a group is not there, in the kernel's words."""

    def program(self, group: Group, name: str) -> int:
        """The program of that name of a loaded group."""
        return self.lib.pointer(
            "bpf_object__find_program_by_name", self.objects[group], name.encode()
        )

    def close(self) -> None:
        """Unload everything; links must be destroyed before."""
        for pointer in self.objects.values():
            self.lib.asked("bpf_object__close", pointer)
        self.objects.clear()
        self.fds.clear()


def load(
    path: Path,
    groups: Iterable[Group],
    *,
    lib: Libbpf,
    multi: bool,
    refuse: Refuse = lambda _group: None,
) -> Loaded:
    """Load these groups of the object at `path`. `multi`: whether the kernel links a program to
    many functions at once. Never raises for a group: what was refused is in `refused`. Raises
    BpfError when the file is no object."""
    loaded = Loaded(lib, multi)
    for group in groups:
        stand_in_for = PROGRAMS[group].instead_of
        if stand_in_for is not None and stand_in_for not in loaded.refused:
            continue
        pointer = lib.pointer("bpf_object__open_file", str(path).encode(), None)
        try:
            refuse(group)
            _load_group(loaded, pointer, group)
        except BpfError as error:
            loaded.refused[group] = error.what
            lib.asked("bpf_object__close", pointer)
        else:
            loaded.objects[group] = pointer
    return loaded


def _load_group(loaded: Loaded, pointer: int, group: Group) -> None:
    lib, fds = loaded.lib, loaded.fds
    lib.words()  # what was said before is not about this group
    wanted = PROGRAMS[group].names
    program = lib.asked("bpf_object__next_program", pointer, None)
    while program:
        lib.call("bpf_program__set_autoload", program, lib.name_of(program) in wanted)
        if loaded.multi and PROGRAMS[group].library is not None:
            lib.call("bpf_program__set_expected_attach_type", program, ATTACH_TYPE)
        program = lib.asked("bpf_object__next_program", pointer, program)
    maps = {
        name: lib.pointer("bpf_object__find_map_by_name", pointer, name.encode())
        for name in (*MAPS, RING)
    }
    for name, fd in fds.items():
        lib.call("bpf_map__reuse_fd", maps[name], fd)
    lib.call("bpf_object__load", pointer)
    if not fds:
        fds.update({name: lib.call("bpf_map__fd", handle) for name, handle in maps.items()})
