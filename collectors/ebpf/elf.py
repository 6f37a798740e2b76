"""Where the functions of a shared library begin in its file: what a kernel link on functions is
given. Used by `collectors.ebpf.links`. The file may be a container's, so nothing in it is believed:
it is read piece by piece and never mapped (a file cut short under a mapping kills who reads it),
every table has a most, the whole has a deadline, and a broken file has no functions."""

import os
import struct
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from itertools import islice

_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little endian."""
_HEAD_BYTES = 64
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNSYM, _LOAD, _EXECUTABLE, _FUNCTION = 11, 1, 1, 2
_SEGMENTS_MAX = 128
_CODE_MAX = 16
"""Parts of a file that are executed; a library has one or two."""
_SECTIONS_MAX = 1024
_SYMBOLS_MAX = 200_000
"""libcuda exports some 800, libnccl some 100."""
_SYMBOLS_AT_ONCE = 4096
_NAMES_BYTES_MAX = 4 << 20
"""Of the table of names: libcuda's has some 30 KB."""
_PLACES_MAX = 8
"""Versions of one function; each place becomes a probe of the kernel."""
_DEADLINE_S = 2.0
"""For a whole file; libcuda takes some 5 ms."""

Read = Callable[[int, int], bytes]
"""From an offset and a number of bytes to at most as many."""


@dataclass(frozen=True, slots=True)
class _Code:
    """A part of the file that is mapped to be executed."""

    address: int
    offset: int
    size: int


def function_offsets(
    descriptor: int, names: Collection[str], *, monotonic_s: Callable[[], float]
) -> dict[str, list[int]]:
    """Offsets in an open file of these functions, as far as the library exports them; several
    where it has versions of one. Empty for what is no such library, cannot be read, or takes
    longer than two seconds by `monotonic_s`."""
    return offsets_in(
        lambda at, size: os.pread(descriptor, size, at), names, monotonic_s=monotonic_s
    )


def offsets_in(
    read: Read, names: Collection[str], *, monotonic_s: Callable[[], float]
) -> dict[str, list[int]]:
    """The same of whatever holds a library's bytes."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, list[int]] = {}
    until_s = monotonic_s() + _DEADLINE_S
    try:
        head = read(0, _HEAD_BYTES)
        if head[: len(_MAGIC)] != _MAGIC:
            return {}
        code = list(islice(_code(read, head), _CODE_MAX))
        for symbols, texts in _tables(read, head):
            if monotonic_s() > until_s:
                return {}
            for text, address in _functions(symbols, texts, wanted):
                places = found.setdefault(wanted[text], [])
                offset = _offset(code, address)
                if offset is not None and len(places) < _PLACES_MAX and offset not in places:
                    places.append(offset)
    except (OSError, struct.error, OverflowError):  # a table that lies outside of the file
        return {}
    return {name: places for name, places in found.items() if places}


def _rows(read: Read, at: int, count: int, row: struct.Struct) -> Iterator[tuple[int, ...]]:
    return row.iter_unpack(_whole(read, at, count * row.size))


def _whole(read: Read, at: int, size: int) -> bytes:
    content = read(at, size)
    if len(content) != size:
        raise struct.error("a table ends behind its file")
    return content


def _code(read: Read, head: bytes) -> Iterator[_Code]:
    (at,) = struct.unpack_from("<Q", head, 32)
    size, count = struct.unpack_from("<HH", head, 54)
    if size != _SEGMENT.size or count > _SEGMENTS_MAX:
        return
    for kind, flags, offset, address, _, length, *_ in _rows(read, at, count, _SEGMENT):
        if kind == _LOAD and flags & _EXECUTABLE:
            yield _Code(address, offset, length)


def _tables(read: Read, head: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The table of exports, part by part, and the names of all: a library has one."""
    (at,) = struct.unpack_from("<Q", head, 40)
    size, count = struct.unpack_from("<HH", head, 58)
    if size != _SECTION.size or count > _SECTIONS_MAX:
        return
    sections = list(_rows(read, at, count, _SECTION))
    for section in sections:
        if section[1] != _DYNSYM or section[6] >= len(sections):
            continue
        names_at, names_size = sections[section[6]][4:6]
        texts = _whole(read, names_at, min(names_size, _NAMES_BYTES_MAX))
        symbols = min(section[5] // _SYMBOL.size, _SYMBOLS_MAX)
        for first in range(0, symbols, _SYMBOLS_AT_ONCE):
            part = min(symbols - first, _SYMBOLS_AT_ONCE) * _SYMBOL.size
            yield _whole(read, section[4] + first * _SYMBOL.size, part), texts
        return


def _functions(
    symbols: bytes, texts: bytes, wanted: Collection[bytes]
) -> Iterator[tuple[bytes, int]]:
    """Name and address of the wanted functions among these exports."""
    longest = max(map(len, wanted), default=0) + 1
    for name, info, _, place, address, _ in _SYMBOL.iter_unpack(symbols):
        if info & 0xF != _FUNCTION or place == 0:
            continue
        text = texts[name : name + longest].partition(b"\0")[0]
        if text in wanted:
            yield text, address


def _offset(code: list[_Code], address: int) -> int | None:
    for part in code:
        if part.address <= address < part.address + part.size:
            return address - part.address + part.offset
    return None
