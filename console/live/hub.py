"""A ring of encoded events that any number of readers follow, each at its own pace.

Published to by the watcher alone, on the event loop; read by the stream route. A slow reader
costs nothing: who falls out of the ring, or comes from before a restart, is told to read
everything again.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from fastapi.sse import format_sse_event

Data = dict[str, str | int | float | bool | None]


@dataclass(frozen=True, slots=True)
class _Kept:
    seq: int
    wire: bytes


class Hub:
    """`epoch` tells one run of the process from another: ids of an earlier run mean nothing."""

    def __init__(self, *, epoch: str, events_max: int, heartbeat_s: float) -> None:
        self._epoch = epoch
        self._ring: deque[_Kept] = deque(maxlen=events_max)
        self._seq = 0
        self._heartbeat_s = heartbeat_s
        self._news = asyncio.Event()
        self._closed = False
        self.readers = 0

    def publish(self, kind: str, data: Data) -> None:
        """Encode once and wake every reader."""
        self._seq += 1
        self._ring.append(_Kept(self._seq, self._encode(kind, data, self._seq)))
        self._wake()

    def close(self) -> None:
        """End every reader's stream: the server is going down."""
        self._closed = True
        self._wake()

    async def follow(self, last_id: str | None, beat: Callable[[], Data]) -> AsyncIterator[bytes]:
        """Wire bytes from after `last_id` on (from now on without one), heartbeats when it is
        quiet. `beat` gives what rides on a heartbeat; the first thing sent is one."""
        self.readers += 1
        try:
            seq = self._seq if last_id is None else self._position(last_id)
            yield self._encode("beat", beat(), self._seq if seq is None else seq)
            if seq is None:
                seq = self._seq
                yield self._encode("resync", {}, seq)
            while not self._closed:
                news = self._news
                if seq < self._oldest() - 1:
                    seq = self._seq
                    yield self._encode("resync", {}, seq)
                for kept in [k for k in self._ring if k.seq > seq]:
                    seq = kept.seq
                    yield kept.wire
                if seq == self._seq and not await _happens(news, self._heartbeat_s):
                    yield self._encode("beat", beat(), seq)
        finally:
            self.readers -= 1

    def _position(self, last_id: str) -> int | None:
        """The sequence number in an id of this run; None when it cannot be gone on from."""
        epoch, _, number = last_id.partition("-")
        if epoch != self._epoch or not number.isdecimal() or int(number) > self._seq:
            return None
        return int(number)

    def _oldest(self) -> int:
        return self._ring[0].seq if self._ring else self._seq + 1

    def _encode(self, kind: str, data: Data, seq: int) -> bytes:
        text = json.dumps(data, separators=(",", ":"))
        return format_sse_event(event=kind, data_str=text, id=f"{self._epoch}-{seq}")

    def _wake(self) -> None:
        # A fresh event for the next news: everybody who waits on this one goes on.
        news, self._news = self._news, asyncio.Event()
        news.set()


async def _happens(news: asyncio.Event, timeout_s: float) -> bool:
    try:
        await asyncio.wait_for(news.wait(), timeout_s)
    except TimeoutError:
        return False
    return True
