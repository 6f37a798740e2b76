"""The wire form of a metrics message, split without protobuf: `collectors.otlp.decoder` reads it.

Only what senders really write is taken: one-byte tags, shortest lengths, each field once where the
schema has it once, in any order. Everything else is `Unusual`, and protobuf's own parser decides.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Span = tuple[int, int]
"""From, to: places in the message."""

_START, _TIME, _DOUBLE, _INT, _FLAGS = 0x11, 0x19, 0x21, 0x31, 0x40
ATTRIBUTE = 0x3A
_POINT = 0x0A
_HEAD_FIELDS = 4
"""Start, time, value, flags: in this order or the other way round, before the attributes."""
_NOWHERE = np.empty(0, np.intp)


class Unusual(Exception):
    """Not for the fast way."""


def length_at(body: bytes, at: int) -> Span:
    """The length that begins at `at`, and where it ends."""
    try:
        size = body[at]
        if size < 0x80:
            return size, at + 1
        size = (size & 0x7F) | body[at + 1] << 7
        if size < 0x4000:
            if size < 0x80:
                raise Unusual
            return size, at + 2
        size = (size & 0x3FFF) | body[at + 2] << 14
        if size < 0x200000:
            if size < 0x4000:
                raise Unusual
            return size, at + 3
        size = (size & 0x1FFFFF) | body[at + 3] << 21
    except IndexError as error:
        raise Unusual from error
    if not 0x200000 <= size < 0x10000000:
        raise Unusual
    return size, at + 4


def fields(body: bytes, span: Span) -> Iterator[tuple[int, Span]]:
    """Tag and content of each field of a message that holds only texts and messages."""
    at, end = span
    while at < end:
        tag = body[at]
        if tag & 7 != 2 or tag >= 0x80 or tag < 8:
            raise Unusual
        size, begin = length_at(body, at + 1)
        at = begin + size
        if at > end:
            raise Unusual
        yield tag, (begin, at)


def point_spans(body: bytes, span: Span, begins: list[int], ends: list[int]) -> dict[int, int]:
    """Append where the points of a gauge or sum lie; the other fields by tag: temporality (0x10)
    and whether it only grows (0x18)."""
    at, end = span
    told: dict[int, int] = {}
    # Points are often of one size: then tag and length are those of the one before.
    lead, width, size = b"", 0, 0
    while at < end:
        if width and body.startswith(lead, at):
            begin = at + width
            at = begin + size
            begins.append(begin)
            ends.append(at)
            continue
        tag = body[at]
        if tag == _POINT:
            size, begin = length_at(body, at + 1)
            lead = body[at:begin]
            width = len(lead)
        elif tag in (0x10, 0x18) and tag not in told and at + 1 < end and body[at + 1] < 0x80:
            told[tag] = body[at + 1]
            at += 2
        else:
            raise Unusual
    if at != end:
        raise Unusual
    return told


class Spotter:
    """Finds the points of a whole message at once, by how the first of them begins.

    What looks like the beginning of a point counts only where each one ends at the next: a text
    that imitates a point breaks the chain, and the points are then read one after the other.
    """

    def __init__(self, body: bytes, octets: NDArray[np.uint8], first: int) -> None:
        """`first`: where the first point's content begins."""
        marks = [body[first + 9 * k] for k in range(3) if first + 9 * k < len(body)]
        wanted = [mark for mark in marks if mark in (_START, _TIME, _DOUBLE, _INT)]
        reach = len(octets) - 9 * (len(wanted) - 1) if len(wanted) >= 2 else 0
        at = np.flatnonzero(octets[: max(reach, 0)] == wanted[0]) if reach > 0 else _NOWHERE
        for k, mark in enumerate(wanted[1:], 1):
            at = at[octets[at + 9 * k] == mark]
        at = at[at >= 3]
        near, far = octets[at - 1].astype(np.intp), octets[at - 2].astype(np.intp)
        short = (far == 0x0A) & (near < 0x80)
        long = (octets[at - 3] == 0x0A) & (far >= 0x80) & (near > 0) & (near < 0x80)
        there = short | long
        short = short[there]
        self.begins = at[there]
        """Shape (n,), where contents of points seem to begin, rising."""
        self.tags = self.begins - np.where(short, 2, 3)
        size = np.where(short, near[there], (far[there] & 0x7F) | near[there] << 7)
        self.ends = self.begins + size
        self._breaks = np.flatnonzero(self.ends[:-1] != self.tags[1:])

    def within(self, span: Span) -> tuple[int, int] | None:
        """From, to: rows that are the points of a list which begins at the span's beginning and
        goes on without a gap; None where there are none or it cannot be told."""
        low = int(np.searchsorted(self.tags, span[0]))
        if low == len(self.tags) or self.tags[low] != span[0]:
            return None
        gap = int(np.searchsorted(self._breaks, low))
        # The chain ends where the list does: the last link out of the span is a break.
        high = int(self._breaks[gap]) + 1 if gap < len(self._breaks) else len(self.tags)
        return (low, high) if self.ends[high - 1] <= span[1] else None


class PointHeads:
    """Where the numbers of points lie, worked out for all points of a message at once."""

    def __init__(
        self, octets: NDArray[np.uint8], begins: NDArray[np.intp], ends: NDArray[np.intp]
    ) -> None:
        """Shapes (n,). Raises Unusual unless each point has one time and one value."""
        n = len(begins)
        self._octets, self._ends = octets, ends
        self.start_at = np.full(n, -1, np.intp)
        """-1 where a point has no start."""
        self.time_at = np.full(n, -1, np.intp)
        self.value_at = np.full(n, -1, np.intp)
        self.is_int = np.zeros(n, np.bool_)
        self.flags = np.zeros(n, np.uint32)
        self.flagged = np.zeros(n, np.bool_)
        self.rest = begins
        """Where the attributes begin."""
        for _ in range(_HEAD_FIELDS if n else 0):
            tags = octets[np.minimum(self.rest, len(octets) - 1)]
            if bool((tags == ATTRIBUTE).all()):
                break
            if not (self._same(int(tags[0]), tags) or self._each(tags)):
                break
        if bool((self.time_at < 0).any() or (self.value_at < 0).any()):
            raise Unusual

    def _same(self, tag: int, tags: NDArray[np.uint8]) -> bool:
        """Take a field that all points have here; false when it is no such field."""
        place = self._places().get(tag)
        if place is None or not bool((tags == tag).all() and (self.rest + 9 <= self._ends).all()):
            return False
        if bool((place >= 0).any()):
            raise Unusual
        place[:] = self.rest + 1
        if tag == _INT:
            self.is_int[:] = True
        self.rest = self.rest + 9
        return True

    def _each(self, tags: NDArray[np.uint8]) -> bool:
        """Take what each point has here; false when none has anything."""
        wide = np.zeros(len(tags), np.bool_)
        fits = self.rest + 9 <= self._ends
        for tag, place in self._places().items():
            mine = (tags == tag) & fits
            if bool((mine & (place >= 0)).any()):
                raise Unusual
            np.copyto(place, self.rest + 1, where=mine)
            wide |= mine
        self.is_int |= (tags == _INT) & fits
        small = (tags == _FLAGS) & (self.rest + 2 <= self._ends)
        if bool(small.any()):
            given = self._octets[np.minimum(self.rest + 1, len(self._octets) - 1)]
            if bool((small & (self.flagged | (given >= 0x80))).any()):
                raise Unusual
            self.flags[small] = given[small]
            self.flagged |= small
        self.rest = self.rest + 9 * wide + 2 * small
        return bool(wide.any() or small.any())

    def _places(self) -> dict[int, NDArray[np.intp]]:
        return {
            _START: self.start_at,
            _TIME: self.time_at,
            _DOUBLE: self.value_at,
            _INT: self.value_at,
        }


def words(body: bytes) -> NDArray[np.uint64]:
    """The eight bytes at every place of a message as a number, without copying."""
    size = max(len(body) - 7, 0)
    return np.ndarray((size,), np.dtype("<u8"), body, strides=(1,))
