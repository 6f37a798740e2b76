"""Equal parts of a message, found for all points at once: `collectors.otlp.decoder` asks here.

A GPU stands in a message once for each of its metrics, and each time its attributes are the same
bytes. They are compared as numbers of eight bytes, so that only one of each needs to be cut out and
looked up.
"""

import numpy as np
from numpy.typing import NDArray

from collectors.otlp.wire import words

_LENGTHS_MAX = 24
"""Lengths of parts that are compared together; a message of more is cut part by part."""
_FEW = 24
"""Parts of one length that are worth it."""
_SIZE_MAX = 65_536
"""Bytes of a part; longer ones are too few to be worth it."""
_CHUNK_BYTES = 122_880
"""What is compared at once: it fits the fast caches, and needs no fresh memory."""
_SLOT_BITS = 14
_WORD_BYTES = 8
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
"""The golden ratio of 2**64, odd: its multiples spread well in the upper bits."""


def distinct(
    body: bytes, begins: NDArray[np.intp], ends: NDArray[np.intp]
) -> tuple[list[bytes], NDArray[np.intp]]:
    """The texts between pairs of places, and which of them each pair holds. A text seldom stands
    there twice. `begins`, `ends`: shape (n,); the second result: shape (n,), rows of the first."""
    sizes = ends - begins
    longest = int(sizes.max(initial=0))
    lengths = np.flatnonzero(np.bincount(sizes)).tolist() if longest <= _SIZE_MAX else []
    if not 0 < len(lengths) <= min(_LENGTHS_MAX, len(begins) // _FEW):
        return _cut(body, begins, ends), np.arange(len(begins))
    found: list[bytes] = []
    which = np.empty(len(begins), np.intp)
    for size in lengths:
        mine = np.flatnonzero(sizes == size)
        begin, end = begins[mine], ends[mine]
        leader = _leaders(body, begin, size)
        first = np.flatnonzero(leader == np.arange(len(mine)))
        rank = np.empty(len(mine), np.intp)
        rank[first] = np.arange(len(found), len(found) + len(first))
        which[mine] = rank[leader]
        found += _cut(body, begin[first], end[first])
    return found, which


def _cut(body: bytes, begins: NDArray[np.intp], ends: NDArray[np.intp]) -> list[bytes]:
    return [*map(body.__getitem__, map(slice, begins.tolist(), ends.tolist()))]


def _leaders(body: bytes, begins: NDArray[np.intp], size: int) -> NDArray[np.int32]:
    """For each part of `size` bytes a part of the same text, one for nearly all that are equal."""
    own = np.arange(len(begins), dtype=np.int32)
    if size < _WORD_BYTES:
        return own if size else np.zeros_like(own)
    count = size // _WORD_BYTES
    width = count * _WORD_BYTES
    whole = np.ndarray((len(body) - width + 1,), f"V{width}", body, strides=(1,))
    # The last word overlaps the one before it where the size is no multiple of eight.
    last = words(body)[begins + (size - _WORD_BYTES)]
    factors = np.arange(1, 2 * count + 1, 2, dtype=np.uint64) * _FACTOR
    rows = max(_CHUNK_BYTES // width, 1)
    chunks = [slice(at, at + rows) for at in range(0, len(begins), rows)]
    mixed = np.empty(len(begins), np.uint64)
    for chunk in chunks:
        mixed[chunk] = whole[begins[chunk]].view(np.uint64).reshape(-1, count) @ factors
    slot = ((mixed + last) * _FACTOR >> np.uint64(64 - _SLOT_BITS)).astype(np.intp)
    holder = np.empty(1 << _SLOT_BITS, np.int32)
    holder[slot] = own
    leader = holder[slot]
    led = begins[leader]
    same = last == last[leader]
    for chunk in chunks:
        ours, theirs = whole[begins[chunk]].view(np.uint64), whole[led[chunk]].view(np.uint64)
        equal = ours == theirs
        if not equal.all():
            same[chunk] &= equal.reshape(-1, count).all(axis=1)
    # Different texts may share a slot: those that are not their leader's stand for themselves.
    return np.where(same, leader, own)
