"""Messages that come again with other numbers: `collectors.otlp.decoder` asks here first.

A sender that writes the same series each time writes the same bytes but for times and values. Equal
in everything else is then a comparison of bytes, and only the numbers are gathered.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.points import Points, Tables
from collectors.otlp.wire import words

_TEMPLATES_MAX = 64
_BYTES_MAX = 32 * 1024 * 1024
_SIZES_MAX = 4096
"""Sizes of messages to remember: only what comes again is worth a template."""
_CHUNK = 8192
"""Words that are compared at once: they fit the fastest caches."""
_MISSES_MAX = 6
"""A sender that never repeats itself costs a template in 64 messages."""


@dataclass(frozen=True, slots=True)
class Layout:
    """What a message says but for its numbers, and where those lie. Shapes (n,)."""

    head: NDArray[np.int32]
    attributes: NDArray[np.int32]
    flags: NDArray[np.uint32]
    start_at: NDArray[np.intp]
    """-1 where a point has no start."""
    time_at: NDArray[np.intp]
    value_at: NDArray[np.intp]
    is_int: NDArray[np.bool_]

    def read(self, tables: Tables, body: bytes) -> Points:
        """The points of a message that is laid out like this."""
        word = words(body)
        value = word[self.value_at]
        numbers = value.view(np.float64)
        if self.is_int.any():
            numbers = np.where(self.is_int, value.view(np.int64).astype(np.float64), numbers)
        start = word[self.start_at]
        start[self.start_at < 0] = 0
        return Points(
            tables, self.head, self.attributes, start, word[self.time_at], numbers, self.flags
        )


@dataclass(frozen=True, slots=True)
class _Template:
    layout: Layout
    mask: NDArray[np.uint8]
    """Shape (bytes,): 255 where a byte must be the same, 0 in times and values."""
    fixed: NDArray[np.uint8]
    """Shape (bytes,): the message seen before."""

    def fits(self, octets: NDArray[np.uint8]) -> bool:
        """Whether a message of the same length says the same but for numbers."""
        whole = len(octets) & ~7
        ours, theirs, mask = (a[:whole].view(np.uint64) for a in (octets, self.fixed, self.mask))
        for at in range(0, len(ours), _CHUNK):
            part = slice(at, at + _CHUNK)
            if ((ours[part] ^ theirs[part]) & mask[part]).any():
                return False
        return not ((octets[whole:] ^ self.fixed[whole:]) & self.mask[whole:]).any()


class Templates:
    """Bounded in number and bytes; the oldest go first."""

    def __init__(self) -> None:
        self._kept: dict[int, _Template] = {}
        """By size of the message."""
        self._bytes = 0
        self._waits: dict[int, int] = {}
        """Messages of a size to let pass before the next template of it is made."""
        self._misses: dict[int, int] = {}

    def find(self, octets: NDArray[np.uint8]) -> Layout | None:
        """The layout of a message that came before with other numbers."""
        size = len(octets)
        template = self._kept.get(size)
        if template is None or not template.fits(octets):
            return None
        self._misses.pop(size, None)
        self._waits[size] = 0
        return template.layout

    def keep(self, layout: Layout, octets: NDArray[np.uint8]) -> None:
        """Remember a message when one of its size has come before."""
        size = len(octets)
        wait = self._waits.get(size, 1)
        if wait > 0 or size > _BYTES_MAX // 4:
            self._waits[size] = wait - 1
            if len(self._waits) > _SIZES_MAX:
                oldest = next(iter(self._waits))
                del self._waits[oldest]
                self._misses.pop(oldest, None)
            return
        # Templates that never fit become rarer: making one costs a third of reading the message.
        missed = self._misses[size] = min(self._misses.get(size, 0) + 1, _MISSES_MAX)
        self._waits[size] = 2**missed - 1
        mask = np.full(size, 255, np.uint8)
        for places in (layout.start_at[layout.start_at >= 0], layout.time_at, layout.value_at):
            for byte in range(8):
                mask[places + byte] = 0
        if self._kept.pop(size, None) is None:
            self._bytes += size
        self._kept[size] = _Template(layout, mask, octets)
        while len(self._kept) > _TEMPLATES_MAX or self._bytes > _BYTES_MAX:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._bytes -= oldest
