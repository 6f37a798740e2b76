"""Functions are found where the loader finds them; a broken or hostile file has none."""

import ctypes as c
import sysconfig
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.ebpf.elf import function_offsets, offsets_in

LIBRARIES = Path(str(sysconfig.get_config_var("DESTSHARED")))
LIBRARY = min(LIBRARIES.glob("*.so"), key=lambda path: path.stat().st_size)
NAME = f"PyInit_{LIBRARY.name.partition('.')[0]}"
CONTENT = LIBRARY.read_bytes()


def test_a_function_is_found_where_the_loader_puts_it() -> None:
    loaded = c.PyDLL(str(LIBRARY))
    code = c.string_at(c.cast(getattr(loaded, NAME), c.c_void_p).value or 0, 16)

    found = function_offsets(LIBRARY, [NAME, "no_such_function"])

    assert set(found) == {NAME}
    [offset] = found[NAME]
    assert CONTENT[offset : offset + 16] == code


@pytest.mark.parametrize("content", [b"", b"\x7fELF", b"\x7fELF\x02\x01" + bytes(10), b"#!" * 99])
def test_what_is_no_library_has_no_functions(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "libcuda.so.1").write_bytes(content)

    assert function_offsets(tmp_path / "libcuda.so.1", [NAME]) == {}
    assert function_offsets(tmp_path / "absent", [NAME]) == {}


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
        assert set(offsets_in(content, [NAME])) <= {NAME}
