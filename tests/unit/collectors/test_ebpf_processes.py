"""Finding processes by what they map: paths and names are their own word, and hostile."""

import os
from pathlib import Path

from collectors.ebpf.processes import Finder, libraries_of, printable, processes, started_at
from collectors.ebpf.programs import Library


def process(
    proc: Path, pid: int, lines: list[tuple[int, str]], *, name: bytes = b"python\n"
) -> Path:
    """A process in a made-up /proc, with an empty root of its own; (inode, path) are mapped."""
    folder = proc / str(pid)
    (folder / "root").mkdir(parents=True)
    maps = "".join(f"7f00-7f01 r-xp 00000000 fd:00 {inode} {path}\n" for inode, path in lines)
    (folder / "maps").write_text("00400000-0041 r--p 00000000 fd:00 12 /usr/bin/python\n" + maps)
    (folder / "comm").write_bytes(name)
    fields = " ".join(str(n) for n in range(4, 53))
    (folder / "stat").write_text(f"{pid} (a) b) S {fields}")
    return folder / "root"


def library(root: Path, name: str) -> int:
    """A file in a process's root; its inode number."""
    path = root / "lib" / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"\x7fELF")
    return path.stat().st_ino


def test_libraries_are_opened_through_the_root_of_their_process(tmp_path: Path) -> None:
    root = process(tmp_path, 7, [])
    cuda, nccl = library(root, "libcuda.so.580.159.04"), library(root, "libnccl.so.2.27.3")
    lines = [(cuda, "/lib/libcuda.so.580.159.04"), (nccl, "/lib/libnccl.so.2.27.3")] * 2
    (tmp_path / "7" / "maps").write_text(
        "".join(f"7f00-7f01 r-xp 0 fd:00 {inode} {path}\n" for inode, path in lines)
    )

    (found,) = processes(tmp_path)

    assert {mapped.library for mapped in found.libraries} == {Library.CUDA, Library.NCCL}
    assert all(mapped.path.is_relative_to(root) for mapped in found.libraries)
    assert len(found.libraries) == 2


def test_a_path_that_leads_to_another_file_than_the_mapped_one_is_refused(tmp_path: Path) -> None:
    """As a process could arrange by a link, or by moving files about."""
    root = process(tmp_path, 7, [(999_999, "/lib/libcuda.so.1"), (5, "/lib/../libcuda.so.1")])
    library(root, "libcuda.so.1")

    assert libraries_of(7, tmp_path) == ()


def test_only_plain_files_of_the_known_names_are_taken(tmp_path: Path) -> None:
    root = process(tmp_path, 7, [])
    (root / "lib").mkdir()
    os.mkfifo(root / "lib" / "libcuda.so.1")
    names = {
        "libcuda.so.1": (root / "lib" / "libcuda.so.1").stat().st_ino,
        "libcuda.so.1.evil": library(root, "libcuda.so.1.evil"),
        "notlibcuda.so.1": library(root, "notlibcuda.so.1"),
    }
    (tmp_path / "7" / "maps").write_text(
        "".join(f"0-1 r-xp 0 fd:00 {inode} /lib/{name}\n" for name, inode in names.items())
    )

    assert libraries_of(7, tmp_path) == ()


def test_names_with_spaces_and_line_ends_are_read_as_the_kernel_writes_them(
    tmp_path: Path,
) -> None:
    root = process(tmp_path, 7, [])
    (root / "a b\nc").mkdir()
    path = root / "a b\nc" / "libcuda.so.1"
    path.write_bytes(b"")
    (tmp_path / "7" / "maps").write_text(
        f"0-1 r-xp 0 fd:00 {path.stat().st_ino} /a b\\012c/libcuda.so.1\n"
    )

    assert [mapped.path for mapped in libraries_of(7, tmp_path)] == [path]


def test_a_broken_line_or_a_process_that_goes_away_harms_nothing(tmp_path: Path) -> None:
    process(tmp_path, 7, [])
    (tmp_path / "7" / "maps").write_text("\0\n/libcuda.so\nx x x x y /libcuda.so.1\n")
    (tmp_path / "8").mkdir()
    (tmp_path / "self").mkdir()

    assert processes(tmp_path) == []
    assert libraries_of(8, tmp_path) == ()


def test_a_library_that_is_loaded_late_is_found_within_half_a_minute(tmp_path: Path) -> None:
    """Looks become rarer, and another process of the same number is looked at at once."""
    root = process(tmp_path, 7, [])
    find = Finder(every_s=5.0, proc=tmp_path)
    looked = [find(now_s) for now_s in (0.0, 5.0, 15.0, 35.0)]
    line = f"0-1 r-xp 0 fd:00 {library(root, 'libcuda.so.1')} /lib/libcuda.so.1\n"
    (tmp_path / "7" / "maps").write_text(line)

    early, late = find(64.0), find(65.0)
    (tmp_path / "7" / "maps").write_text("")
    kept = find(66.0)
    (tmp_path / "7" / "stat").write_text("7 (x) S " + " ".join(str(n) for n in range(104, 153)))

    assert looked == [[], [], [], []]
    assert (early, [found.pid for found in late], kept) == ([], [7], late)
    assert find(67.0) == []


def test_where_the_driver_says_who_uses_a_gpu_these_are_looked_at_at_once(tmp_path: Path) -> None:
    """And the others so rarely that a thousand of them cost nothing."""
    for pid in (7, 8):
        root = process(tmp_path, pid, [])
        line = f"0-1 r-xp 0 fd:00 {library(root, 'libcuda.so.1')} /lib/libcuda.so.1\n"
        (tmp_path / str(pid) / "late").write_text(line)
    holders: set[int] = set()
    find = Finder(every_s=5.0, proc=tmp_path, holders=lambda: holders)
    early = [find(now_s) for now_s in (0.0, 5.0, 15.0, 35.0, 75.0, 155.0)]
    for pid in (7, 8):
        (tmp_path / str(pid) / "late").rename(tmp_path / str(pid) / "maps")
    unheard = find(200.0)
    holders.add(7)
    heard, late = find(205.0), find(155.0 + 300.0)

    assert early == [[]] * 6
    assert unheard == []
    assert [found.pid for found in heard] == [7]
    assert [found.pid for found in late] == [7, 8]


def test_the_start_is_read_behind_whatever_the_process_calls_itself(tmp_path: Path) -> None:
    process(tmp_path, 7, [])

    assert started_at(7, tmp_path) == 22
    assert started_at(9, tmp_path) is None


def test_a_name_cannot_carry_control_characters_or_length() -> None:
    assert printable(b"a\x1b[31m\nb\xff") == "a\\x1b[31m\\nb\\xff"
    assert len(printable("\x00" * 1000)) == 64
