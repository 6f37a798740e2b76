"""How much an Arrow stream would take once decoded, told from its headers before it is.

A few kilobytes of zstd can say fifty million rows. Arrow allocates what each compressed buffer
claims to hold, so the claims are added up first. Called by `fleetmend.streams.columns` alone.

The metadata of a message is a flatbuffer (Arrow's `Message.fbs`): a table begins with the distance
back to its vtable, which gives the place of each field; a compressed buffer begins with its decoded
length, 8 bytes, or -1 where it was left as it is (Arrow columnar format, IPC buffer compression).
"""

import struct
from dataclasses import dataclass
from typing import Any, Self

import pyarrow as pa

from fleetmend.errors import BadInput

_DICTIONARY, _RECORDS = 2, 3
"""Kinds of message that carry data (`MessageHeader`)."""
_MESSAGES_MAX = 64
"""A schema, a dictionary for each of two columns and their deltas, a batch: more is no batch."""
_BUFFERS_MAX = 64
_LENGTH = struct.Struct("<q")


def check_decoded(value: bytes, *, bytes_max: int, rows_max: int) -> None:
    """Refuse a stream whose buffers would hold more than `bytes_max` bytes, or one of whose batches
    says more than `rows_max` rows. Raises BadInput; pyarrow's own errors pass through."""
    reader = pa.ipc.MessageReader.open_stream(pa.py_buffer(value))
    total = 0
    for _ in range(_MESSAGES_MAX):
        try:
            message = reader.read_next_message()
        except StopIteration:
            return
        try:
            rows, size = _claims(bytes(message.metadata), message.body)
        except (struct.error, IndexError) as error:
            raise BadInput(f"a damaged Arrow message: {error}") from error
        total += size
        if rows > rows_max:
            raise BadInput(f"{rows} rows", fix=f"At most {rows_max}.")
        if total > bytes_max:
            raise BadInput(f"{total} bytes once decoded", fix=f"At most {bytes_max}.")
    raise BadInput("too many Arrow messages", fix=f"At most {_MESSAGES_MAX}.")


def _claims(metadata: bytes, body: Any) -> tuple[int, int]:
    """Rows and decoded bytes that a message claims; zeros for one without data."""
    message = _Table.root(metadata)
    kind = message.byte(1)
    if kind not in (_DICTIONARY, _RECORDS):
        return 0, 0
    batch = message.table(2)
    if kind == _DICTIONARY:
        batch = batch.table(1)
    content = memoryview(b"" if body is None else body)
    compressed = batch.has(3)
    total = 0
    for offset, length in batch.pairs(2):
        if not 0 <= offset <= offset + length <= len(content):
            raise BadInput("an Arrow buffer lies outside its message")
        claimed = length
        if compressed and length >= _LENGTH.size:
            decoded = _LENGTH.unpack_from(content, offset)[0]
            claimed = length if decoded == -1 else decoded
        if claimed < 0:
            raise BadInput("an Arrow buffer of negative length")
        total += claimed
    return batch.long(0), total


@dataclass(frozen=True, slots=True)
class _Table:
    """A table of a flatbuffer; fields by their number in the schema."""

    data: bytes
    at: int

    @classmethod
    def root(cls, data: bytes) -> Self:
        return cls(data, _read("<I", data, 0))

    def has(self, field: int) -> bool:
        return self._place(field) is not None

    def byte(self, field: int) -> int:
        place = self._place(field)
        return 0 if place is None else _read("<B", self.data, place)

    def long(self, field: int) -> int:
        place = self._place(field)
        return 0 if place is None else _read("<q", self.data, place)

    def table(self, field: int) -> "_Table":
        place = self._place(field)
        if place is None:
            raise BadInput("an Arrow message without its content")
        return _Table(self.data, place + _read("<I", self.data, place))

    def pairs(self, field: int) -> list[tuple[int, int]]:
        """A vector of structs of two longs."""
        place = self._place(field)
        if place is None:
            return []
        start = place + _read("<I", self.data, place)
        count = _read("<I", self.data, start)
        if count > _BUFFERS_MAX:
            raise BadInput(f"{count} buffers in an Arrow message", fix=f"At most {_BUFFERS_MAX}.")
        numbers = struct.unpack_from(f"<{2 * count}q", self.data, start + 4)
        return list(zip(numbers[::2], numbers[1::2], strict=True))

    def _place(self, field: int) -> int | None:
        vtable = self.at - _read("<i", self.data, self.at)
        slot = 4 + 2 * field
        if slot + 2 > _read("<H", self.data, vtable):
            return None
        offset = _read("<H", self.data, vtable + slot)
        return self.at + offset if offset else None


def _read(form: str, data: bytes, at: int) -> int:
    """One number; a negative place would count from the end, and is refused like any other that
    lies outside."""
    if at < 0:
        raise IndexError(f"place {at}")
    return int(struct.unpack_from(form, data, at)[0])
