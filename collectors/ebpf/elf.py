"""Where the functions of a shared library begin in its file: what a kernel link on many functions
is given. Used by `collectors.ebpf.links`. The file may be a container's, so nothing in it is
believed: every place is checked to lie inside, and a broken file has no functions."""

import mmap
import os
import struct
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

_MAGIC = b"\x7fELF\x02\x01"
"""64 bits, little endian."""
_SECTION = struct.Struct("<IIQQQQIIQQ")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_SYMBOL = struct.Struct("<IBBHQQ")
_DYNSYM, _LOAD, _EXECUTABLE, _FUNCTION = 11, 1, 1, 2
_SYMBOLS_MAX = 200_000
"""libcuda exports some 800, libnccl some 100."""
_NAME_MAX = 256
_FILE_BYTES_MAX = 4 << 30

Bytes = bytes | mmap.mmap


@dataclass(frozen=True, slots=True)
class _Code:
    """A part of the file that is mapped to be executed."""

    address: int
    offset: int
    size: int


def function_offsets(path: Path, names: Collection[str]) -> dict[str, list[int]]:
    """Offsets in the file of these functions, as far as the library exports them; several where it
    has versions of one. Empty for what is no such library or cannot be read."""
    try:
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not 64 <= size <= _FILE_BYTES_MAX:
                return {}
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                return offsets_in(content, names)
    except (OSError, ValueError):
        return {}


def offsets_in(content: Bytes, names: Collection[str]) -> dict[str, list[int]]:
    """The same of a library's bytes."""
    wanted = {name.encode(): name for name in names}
    found: dict[str, list[int]] = {}
    try:
        if content[: len(_MAGIC)] != _MAGIC:
            return {}
        code = list(_code(content))
        for text, address in _functions(content):
            name = wanted.get(text)
            offset = _offset(code, address)
            if name is None or offset is None or offset in found.get(name, ()):
                continue
            found.setdefault(name, []).append(offset)
    except (struct.error, OverflowError):  # a table that lies outside of the file
        return {}
    return found


def _code(content: Bytes) -> Iterator[_Code]:
    (at,) = struct.unpack_from("<Q", content, 32)
    size, count = struct.unpack_from("<HH", content, 54)
    for number in range(count):
        kind, flags, offset, address, _, length, *_ = _SEGMENT.unpack_from(
            content, at + number * size
        )
        if kind == _LOAD and flags & _EXECUTABLE:
            yield _Code(address, offset, length)


def _functions(content: Bytes) -> Iterator[tuple[bytes, int]]:
    """Name and address of every function in the table of exports: a library has one."""
    (at,) = struct.unpack_from("<Q", content, 40)
    size, count = struct.unpack_from("<HH", content, 58)
    sections = [_SECTION.unpack_from(content, at + number * size) for number in range(count)]
    for section in sections:
        if section[1] != _DYNSYM or section[6] >= len(sections):
            continue
        names_at, names_size = sections[section[6]][4:6]
        for number in range(min(section[5] // _SYMBOL.size, _SYMBOLS_MAX)):
            name, info, _, place, address, _ = _SYMBOL.unpack_from(
                content, section[4] + number * _SYMBOL.size
            )
            if info & 0xF != _FUNCTION or place == 0 or name >= names_size:
                continue
            start = names_at + name
            yield content[start : start + _NAME_MAX].partition(b"\0")[0], address
        return


def _offset(code: list[_Code], address: int) -> int | None:
    for part in code:
        if part.address <= address < part.address + part.size:
            return address - part.address + part.offset
    return None
