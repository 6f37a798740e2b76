"""Bytes that come again with other numbers: `collectors.otlp.decoder` asks here before it reads.

A sender that writes the same series each time writes the same bytes but for times and values. Equal
in everything else is then a comparison of bytes, and only the numbers are gathered. That holds for
whole messages, and within a message for the lists of points of its metrics.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

_TEMPLATES_MAX = 64
_BYTES_MAX = 32 * 1024 * 1024
_SIZES_MAX = 4096
"""Sizes of messages to remember: only what comes again is worth a template."""
_PROBE_BYTES = 64
_CHUNK_BYTES = 65_536
"""Bytes that are compared at once: they fit the fast caches."""
_MISSES_MAX = 6
"""A sender that never repeats itself costs a template in 64 messages."""
_CREDIT_MAX = 16.0
_CREDIT_BACK = 1 / 32
"""Lists that never come again cost a template in 32."""

What = TypeVar("What")


@dataclass(frozen=True, slots=True)
class _Template(Generic[What]):
    what: What
    probe_at: int
    probe: bytes
    """What follows the numbers of the first point: nearly all that does not fit differs here."""
    mask: NDArray[np.uint8]
    """Shape (bytes,): 255 where a byte must be the same, 0 in times and values."""
    fixed: bytes
    """The bytes seen before, with zeros in times and values."""

    def fits(self, body: bytes, begin: int) -> bool:
        """Whether as many bytes, from `begin`, say the same but for numbers."""
        if not body.startswith(self.probe, begin + self.probe_at):
            return False
        octets = np.frombuffer(body, np.uint8, len(self.fixed), begin)
        for at in range(0, len(octets), _CHUNK_BYTES):
            part = slice(at, at + _CHUNK_BYTES)
            if (octets[part] & self.mask[part]).tobytes() != self.fixed[part]:
                return False
        return True


class Templates(Generic[What]):
    """Bounded in number and bytes; the oldest go first."""

    def __init__(self) -> None:
        self._kept: dict[int, _Template[What]] = {}
        """By size."""
        self._bytes = 0

    def find(self, body: bytes, begin: int, end: int) -> What | None:
        """What was kept with the same bytes but for numbers."""
        template = self._kept.get(end - begin)
        return template.what if template is not None and template.fits(body, begin) else None

    def keep(self, what: What, places: tuple[NDArray[np.intp], ...], body: bytes) -> None:
        """Remember bytes with numbers of eight bytes at `places`."""
        size = len(body)
        if not 0 < size <= _BYTES_MAX // 4:
            return
        mask = np.full(size, 255, np.uint8)
        numbers = np.ndarray((max(size - 7, 0),), "<u8", mask, strides=(1,))
        for at in places:
            numbers[at] = 0
        probe_at = max((int(at[0]) + 8 for at in places if len(at)), default=0)
        probe = body[probe_at : probe_at + _PROBE_BYTES]
        if not mask[probe_at : probe_at + _PROBE_BYTES].all():
            probe = b""
        fixed = (np.frombuffer(body, np.uint8) & mask).tobytes()
        if self._kept.pop(size, None) is None:
            self._bytes += size
        self._kept[size] = _Template(what, probe_at, probe, mask, fixed)
        while len(self._kept) > _TEMPLATES_MAX or self._bytes > _BYTES_MAX:
            oldest = next(iter(self._kept))
            del self._kept[oldest]
            self._bytes -= oldest


class Recurrence:
    """Which messages are worth a template: those of a size that has come before, and ever fewer of
    a size whose templates never fit; making one costs a third of reading the message."""

    def __init__(self) -> None:
        self._waits: dict[int, int] = {}
        """Messages of a size to let pass before the next template of it is made."""
        self._misses: dict[int, int] = {}

    def hit(self, size: int) -> None:
        """A template of this size was of use."""
        self._misses.pop(size, None)
        self._waits[size] = 0

    def worth(self, size: int) -> bool:
        """Whether to make one now."""
        wait = self._waits.get(size, 1)
        if wait > 0:
            self._waits[size] = wait - 1
            if len(self._waits) > _SIZES_MAX:
                oldest = next(iter(self._waits))
                del self._waits[oldest]
                self._misses.pop(oldest, None)
            return False
        missed = self._misses[size] = min(self._misses.get(size, 0) + 1, _MISSES_MAX)
        self._waits[size] = 2**missed - 1
        return True


class Lists(Generic[What]):
    """Templates for lists of points: for all of them, as long as templates are of use. The metrics
    of one message often have the same points, so that the first is a template for the others."""

    def __init__(self) -> None:
        self._templates = Templates[What]()
        self._credit = _CREDIT_MAX / 4

    def find(self, body: bytes, span: tuple[int, int]) -> What | None:
        """What was kept with the same bytes but for numbers."""
        found = self._templates.find(body, *span)
        if found is not None:
            self._credit = min(self._credit + 1, _CREDIT_MAX)
        return found

    def worth(self) -> bool:
        """Whether to keep one now that was not found."""
        if self._credit < 1:
            self._credit += _CREDIT_BACK
            return False
        self._credit -= 1
        return True

    def keep(self, what: What, places: tuple[NDArray[np.intp], ...], body: bytes) -> None:
        """Remember a list with numbers of eight bytes at `places`."""
        self._templates.keep(what, places, body)
