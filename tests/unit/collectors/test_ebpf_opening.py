"""A container swaps what its path leads to: what was found is what is opened, or nothing is."""

import os
from pathlib import Path

import pytest

from collectors.ebpf import links as subject
from collectors.ebpf.elf import function_offsets
from collectors.ebpf.links import Links
from collectors.ebpf.loaded import Loaded
from collectors.ebpf.opening import held, opened
from collectors.ebpf.processes import MappedLibrary, library_at
from collectors.ebpf.programs import PROGRAMS
from fleetmend.clock import ManualClock
from tests.unit.collectors.test_ebpf_elf import made_up


class _Library:
    def call(self, *_: object) -> int:
        return 1


class _Loaded:
    """Everything is loaded and nothing reaches the kernel."""

    multi = True
    lib = _Library()
    objects = dict.fromkeys(PROGRAMS)

    def program(self, *_: object) -> int:
        return 1


def a_library(root: Path) -> MappedLibrary:
    (root / "lib").mkdir()
    (root / "lib" / "libcuda.so.1").write_bytes(made_up([0x1234]))
    found = library_at("/lib/libcuda.so.1", root=root)
    assert found is not None
    return found


def attached(
    monkeypatch: pytest.MonkeyPatch, library: MappedLibrary
) -> list[tuple[int, list[int]]]:
    """The inode that the kernel would open for each link, and the places in it."""
    made: list[tuple[int, list[int]]] = []

    def link(_program: int, path: Path, places: list[int], *, back: bool) -> int:
        made.append((os.stat(path).st_ino, list(places)))
        return os.open("/dev/null", os.O_RDONLY)

    monkeypatch.setattr(subject, "link", link)
    loaded: Loaded = _Loaded()  # type: ignore[assignment]
    links = Links(loaded, ManualClock(0.0))
    given = links.library(library)
    if given is not None:
        links.detach(given)
    return made


def test_the_kernel_is_given_the_file_that_was_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = a_library(tmp_path)

    assert set(map(repr, attached(monkeypatch, library))) == {repr((library.inode[1], [0x1234]))}


def test_a_file_swapped_before_it_is_attached_gets_no_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = a_library(tmp_path)
    (tmp_path / "shared").write_bytes(made_up([0x999]))
    (tmp_path / "shared").rename(tmp_path / "lib" / "libcuda.so.1")

    assert attached(monkeypatch, library) == []


def test_a_file_swapped_between_reading_and_linking_gets_no_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library = a_library(tmp_path)
    reading = function_offsets

    def read_and_swap(*given: object, **named: object) -> dict[str, list[int]]:
        found = reading(*given, **named)  # type: ignore[arg-type]
        (tmp_path / "shared").write_bytes(made_up([0x999]))
        (tmp_path / "shared").rename(tmp_path / "lib" / "libcuda.so.1")
        return found

    monkeypatch.setattr(subject, "function_offsets", read_and_swap)

    assert {inode for inode, _ in attached(monkeypatch, library)} == {library.inode[1]}


def test_a_link_leads_into_the_containers_own_tree(tmp_path: Path) -> None:
    """And not to the node's file of that path."""
    outside = tmp_path / "node" / "libcuda.so.1"
    root = tmp_path / "root"
    for folder in (outside.parent, root):
        folder.mkdir()
    outside.write_bytes(b"the node's")
    for target in (str(outside), "../node/libcuda.so.1", "/proc/self/root" + str(outside)):
        (root / "libcuda.so.1").unlink(missing_ok=True)
        (root / "libcuda.so.1").symlink_to(target)
        assert library_at("/libcuda.so.1", root=root) is None


def test_a_pipe_in_place_of_the_file_blocks_nobody(tmp_path: Path) -> None:
    library = a_library(tmp_path)
    (tmp_path / "lib" / "libcuda.so.1").unlink()
    os.mkfifo(tmp_path / "lib" / "libcuda.so.1")

    with held(tmp_path, library.inside) as place:
        assert place is None
    with opened(tmp_path, library.inside, inode=library.inode) as descriptor:
        assert descriptor is None


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    library = a_library(tmp_path)
    before = len(os.listdir("/proc/self/fd"))
    for inode in (library.inode, (0, 0)):
        with opened(tmp_path, library.inside, inode=inode):
            pass

    assert len(os.listdir("/proc/self/fd")) == before
