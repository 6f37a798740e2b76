"""What follows the numbers of a point, learnt once: `collectors.otlp.decoder` keeps one of these.

New sets are mostly made of attributes that others had before, in the same places: each attribute is
remembered by its bytes, and read by hand when it is a short name with a short text, by protobuf's
parser otherwise.
"""

from collections.abc import Sequence
from struct import Struct

from opentelemetry.proto.common.v1.common_pb2 import KeyValue

from collectors.otlp.plain import ATTRIBUTES_MAX, labels_of, nested
from collectors.otlp.points import Tables
from collectors.otlp.wire import Unusual, length_at

FLAGS_BITS = 7
FLAGS_MAX = 127
ENTRY_CHARS = 200
"""What an entry costs beside its bytes."""

_SHAPE_BYTES = 2048
"""A longer block is always cut attribute by attribute."""
_FLAGS = 0x40
_KEY, _VALUE, _STRING = 0x0A, 0x12, 0x0A
_LEADS = [bytes((_VALUE, size + 2, _STRING, size)) for size in range(126)]
"""What stands before a text of so many bytes."""
_LEAST_BYTES = 6
"""Of an attribute with a name and a text."""

_Shape = tuple[Struct, tuple[bytes, ...]]
"""Cuts a block into leads (tag and length) and attributes in turns; the leads that it must have."""


class AttributeSets:
    """From the bytes of attributes and flags to a row of `Tables.attributes` and the flags."""

    def __init__(self, tables: Tables, *, tag: int) -> None:
        """`tag`: of an attribute, in the kind of point that the blocks are from."""
        self._tables, self._tag = tables, tag
        self._codes: dict[bytes, int] = {}
        self._pairs: dict[bytes, tuple[str, str | None]] = {}
        """Name and text; None for a value that names nothing."""
        self._shapes: dict[int, _Shape] = {}
        """Of the last block of each size that was cut attribute by attribute."""
        self.known_chars = 0
        """Bytes that are remembered."""

    def codes(self, blocks: list[bytes]) -> list[int]:
        """For each block its row, shifted by FLAGS_BITS, and its flags. Raises Unusual for a block
        that holds more than attributes and small flags, or an attribute with values in values."""
        found = [*map(self._codes.get, blocks)]
        return [
            self._learn(block) if code is None else code
            for block, code in zip(blocks, found, strict=True)
        ]

    def _learn(self, block: bytes) -> int:
        code = self._codes.get(block)
        if code is not None:
            return code
        attributes, flags = self._cut(block)
        known = self._pairs.get
        pairs = [known(raw) or self._pair(raw) for raw in attributes]
        labels = {key: text for key, text in pairs[:ATTRIBUTES_MAX] if text is not None}
        code = self._codes[block] = len(self._tables.attributes) << FLAGS_BITS | flags
        self._tables.attributes.append(labels)
        self.known_chars += len(block) + ENTRY_CHARS
        return code

    def _cut(self, block: bytes) -> tuple[Sequence[bytes], int]:
        """The attributes, and the flags. Raises Unusual."""
        shape = self._shapes.get(len(block))
        if shape is not None:
            parts = shape[0].unpack(block)
            if parts[::2] == shape[1]:
                return parts[1::2], 0
        leads: list[bytes] = []
        attributes: list[bytes] = []
        at, end, flags = 0, len(block), -1
        while at < end:
            if block[at] == self._tag:
                size, begin = length_at(block, at + 1)
                leads.append(block[at:begin])
                attributes.append(block[begin : begin + size])
                at = begin + size
            elif block[at] == _FLAGS and flags < 0 and at + 1 < end and block[at + 1] <= FLAGS_MAX:
                flags = block[at + 1]
                at += 2
            else:
                raise Unusual
        if at != end:
            raise Unusual
        if flags < 0 and end <= _SHAPE_BYTES:
            form = "".join(f"{len(a)}s{len(b)}s" for a, b in zip(leads, attributes, strict=True))
            self._shapes[end] = Struct(form), tuple(leads)
        return attributes, max(flags, 0)

    def _pair(self, raw: bytes) -> tuple[str, str | None]:
        pair: tuple[str, str | None] | None = _plain(raw)
        if pair is None:
            attribute = KeyValue.FromString(raw)
            if nested([attribute]):
                raise Unusual
            pair = next(iter(labels_of([attribute]).items()), ("", None))
        self._pairs[raw] = pair
        self.known_chars += len(raw) + ENTRY_CHARS
        return pair


def _plain(raw: bytes) -> tuple[str, str] | None:
    """Name and text of an attribute in its usual form; None for any other. Raises Unusual for what
    is no text."""
    if len(raw) < _LEAST_BYTES or raw[0] != _KEY or raw[1] > FLAGS_MAX:
        return None
    key_end = 2 + raw[1]
    size = len(raw) - key_end - 4
    if not (0 <= size < len(_LEADS) and raw.startswith(_LEADS[size], key_end)):
        return None
    try:
        return raw[2:key_end].decode(), raw[key_end + 4 :].decode()
    except UnicodeDecodeError as error:
        raise Unusual from error
