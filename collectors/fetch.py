"""What it means to fetch a page: how it ends, and what it gives. `collectors.connections` does it.

What goes wrong is an outcome, never an exception: a target that does not answer is information.
"""

import zlib
from concurrent.futures import Future
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

_CHUNK = 1_048_576
_FILES_MAX = 64
"""Packed files in one body: millions of empty ones would cost hours."""
_GZIP = zlib.MAX_WBITS | 16


class Outcome(StrEnum):
    """What became of a scrape."""

    OK = "ok"
    EMPTY = "empty"
    """HTTP 200 without a sample."""
    REFUSED = "refused"
    """Nobody listens."""
    UNREACHABLE = "unreachable"
    """No name, no route, a broken connection."""
    TLS = "tls"
    """Its certificate is not one to trust, or what it speaks is no TLS."""
    PROTOCOL = "protocol"
    """What it answers is no HTTP."""
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    """Not followed: a target must not send the collector elsewhere."""
    STATUS = "status"
    """Another HTTP status than 200."""
    OVERSIZE = "oversize"
    """More bytes than a page or a head may have, packed or unpacked."""
    UNREADABLE = "unreadable"
    """HTTP 200 with a body in which no line is a sample, or whose packing is broken."""


class Refusal(Exception):
    """Carries an outcome out of the reading of an answer."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page, or why there is none."""

    outcome: Outcome
    body: bytes = b""
    """As it came, packed or not."""
    packed: bool = False
    """Whether the body is gzip."""
    status: int = 0
    """HTTP status; 0 when there was no answer."""
    duration_s: float = 0.0

    @property
    def word(self) -> str:
        """The outcome as events tell it: `ok`, `refused`, `http_503`."""
        return f"http_{self.status}" if self.outcome is Outcome.STATUS else self.outcome.value

    def text(self, bytes_max: int) -> str:
        """The page, of at most `bytes_max` bytes unpacked. Raises Refusal."""
        body = unpacked(self.body, bytes_max=bytes_max) if self.packed else self.body
        return body.decode("utf-8", "replace")


class Fetcher(Protocol):
    """Fetches pages for all targets."""

    def begin(self, url: str, timeout_s: float, ca_file: str = "") -> Future[Fetched]:
        """Start to fetch a page; what comes of it is there after at most `timeout_s` seconds.
        `ca_file`: the certificates that an https page is checked against; empty: the system's."""
        ...

    def close(self) -> None:
        """Let go of connections."""
        ...


def unpacked(body: bytes, *, bytes_max: int) -> bytes:
    """What a gzip body holds. Raises Refusal: a bomb is never unpacked further than `bytes_max`
    and a piece."""
    pieces: list[bytes] = []
    size, files, rest = 0, 0, body
    try:
        while rest:  # gzip files may be put one after the other
            files += 1
            if files > _FILES_MAX:
                raise Refusal(Outcome.UNREADABLE)
            unpack = zlib.decompressobj(wbits=_GZIP)
            while rest and not unpack.eof:
                pieces.append(unpack.decompress(rest, _CHUNK))
                size += len(pieces[-1])
                if size > bytes_max:
                    raise Refusal(Outcome.OVERSIZE)
                rest = unpack.unconsumed_tail
            if not unpack.eof:
                raise Refusal(Outcome.UNREADABLE)
            rest = unpack.unused_data
    except zlib.error as error:
        raise Refusal(Outcome.UNREADABLE) from error
    return b"".join(pieces)
