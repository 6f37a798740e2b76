"""Functions are found where the loader finds them; a broken or hostile file has none."""

import ctypes as c
import os
import struct
import sysconfig
from itertools import count
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.ebpf.elf import Read, function_offsets, offsets_in

LIBRARIES = Path(str(sysconfig.get_config_var("DESTSHARED")))
LIBRARY = min(LIBRARIES.glob("*.so"), key=lambda path: path.stat().st_size)
NAME = f"PyInit_{LIBRARY.name.partition('.')[0]}"
CONTENT = LIBRARY.read_bytes()


def still() -> float:
    return 0.0


def of(content: bytes) -> Read:
    return lambda at, size: content[at : at + size]


def offsets_of(path: Path, *names: str) -> dict[str, list[int]]:
    with path.open("rb") as file:
        return function_offsets(file.fileno(), names, monotonic_s=still)


def made_up(places: list[int], *, segments: int = 1) -> bytes:
    """A library that exports one name at each of these addresses."""
    names = b"\0cuMemAlloc_v2\0".ljust(64, b"\0")
    symbols = b"".join(struct.pack("<IBBHQQ", 1, 0x12, 0, 1, place, 8) for place in places)
    nowhere = struct.pack("<IIQQQQQQ", 1, 5, 0, 1 << 40, 0, 1, 1, 0)
    code = nowhere * (segments - 1) + struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, 1 << 30, 1 << 30, 0)
    at = 64 + len(code)
    end = at + len(symbols) + len(names)
    head = bytearray(64)
    head[:6] = b"\x7fELF\x02\x01"
    struct.pack_into("<QQ", head, 32, 64, end)
    struct.pack_into("<HHHH", head, 54, 56, segments, 64, 2)
    sections = struct.pack("<IIQQQQIIQQ", 0, 11, 0, 0, at, len(symbols), 1, 0, 0, 0)
    sections += struct.pack("<IIQQQQIIQQ", 0, 3, 0, 0, at + len(symbols), 64, 0, 0, 0, 0)
    return bytes(head) + code + symbols + names + sections


def test_a_function_is_found_where_the_loader_puts_it() -> None:
    loaded = c.PyDLL(str(LIBRARY))
    code = c.string_at(c.cast(getattr(loaded, NAME), c.c_void_p).value or 0, 16)

    found = offsets_of(LIBRARY, NAME, "no_such_function")

    assert set(found) == {NAME}
    [offset] = found[NAME]
    assert CONTENT[offset : offset + 16] == code


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(10), b"#!" * 99])
def test_what_is_no_library_has_no_functions(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(content)

    assert offsets_of(tmp_path / "libcuda.so.1", NAME) == {}


@given(
    cut=st.integers(0, len(CONTENT)),
    changes=st.lists(st.tuples(st.integers(0, len(CONTENT) - 1), st.integers(0, 255)), max_size=20),
    heads=st.lists(st.tuples(st.integers(0, 63), st.integers(0, 255)), max_size=6),
)
@settings(max_examples=60, deadline=None)
def test_whatever_is_changed_in_a_library_the_search_ends_without_an_error(
    cut: int, changes: list[tuple[int, int]], heads: list[tuple[int, int]]
) -> None:
    """Tables that lie outside, overlap, or are said to be endless."""
    broken = bytearray(CONTENT)
    for place, byte in (*changes, *heads):
        broken[place] = byte
    for content in (bytes(broken), bytes(broken[:cut])):
        assert set(offsets_in(of(content), [NAME], monotonic_s=still)) <= {NAME}


def test_a_library_that_is_cut_short_while_it_is_read_has_no_functions(tmp_path: Path) -> None:
    """Its owner may do so at any time; a mapping of it would end the whole agent."""
    path = tmp_path / "libcuda.so.1"
    path.write_bytes(made_up([16]))

    def read(at: int, size: int) -> bytes:
        if at:
            os.truncate(path, 64)
        return os.pread(descriptor, size, at)

    descriptor = os.open(path, os.O_RDONLY)
    found = offsets_in(read, ["cuMemAlloc_v2"], monotonic_s=still)
    os.close(descriptor)

    assert found == {}


def test_a_name_that_is_exported_without_end_has_few_places() -> None:
    """Each place becomes a probe of the kernel."""
    content = made_up([16 * number for number in range(1, 20_000)])

    found = offsets_in(of(content), ["cuMemAlloc_v2"], monotonic_s=still)

    assert found == {"cuMemAlloc_v2": [16 * number for number in range(1, 9)]}


def test_of_a_library_in_a_thousand_parts_only_the_first_are_looked_at() -> None:
    for segments, places in ((16, {"cuMemAlloc_v2": [16]}), (17, {}), (1000, {})):
        content = made_up([16], segments=segments)
        assert offsets_in(of(content), ["cuMemAlloc_v2"], monotonic_s=still) == places


def test_reading_ends_at_its_deadline() -> None:
    seconds = count(0.0, 1.5)
    content = made_up([16] * 5000)

    assert offsets_in(of(content), ["cuMemAlloc_v2"], monotonic_s=lambda: next(seconds)) == {}
