"""One page over HTTP, within a deadline and a size: `collectors.target` calls it in a thread.

What goes wrong is an outcome, never an exception: a target that does not answer is information.
"""

import contextlib
import socket
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import httpx

from fleetmend.clock import Clock

_HEADERS = {
    "Accept": "text/plain;version=0.0.4",
    "Accept-Encoding": "gzip",
    "User-Agent": "fleetmend",
}


_CONNECTED = frozenset({"connection.connect_tcp.complete", "connection.start_tls.complete"})


class Outcome(StrEnum):
    """What became of a scrape."""

    OK = "ok"
    EMPTY = "empty"
    """HTTP 200 without a sample."""
    REFUSED = "refused"
    """Nobody listens."""
    UNREACHABLE = "unreachable"
    """No name, no route, a broken connection."""
    TIMEOUT = "timeout"
    REDIRECT = "redirect"
    """Not followed: a target must not send the collector elsewhere."""
    STATUS = "status"
    """Another HTTP status than 200."""
    OVERSIZE = "oversize"
    UNREADABLE = "unreadable"
    """HTTP 200 with a body in which no line is a sample, or whose packing is broken."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A page, or why there is none."""

    outcome: Outcome
    text: str = ""
    status: int = 0
    """HTTP status; 0 when there was no answer."""
    duration_s: float = 0.0

    @property
    def word(self) -> str:
        """The outcome as events tell it: `ok`, `refused`, `http_503`."""
        return f"http_{self.status}" if self.outcome is Outcome.STATUS else self.outcome.value


class _Refusal(Exception):
    """Carries an outcome out of the reading of a body."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.value)
        self.outcome = outcome


class Fetcher:
    """Fetches pages for all targets; safe to share between threads."""

    def __init__(
        self, clock: Clock, *, body_bytes_max: int, transport: httpx.BaseTransport | None = None
    ) -> None:
        """`transport`: another way than the network, for tests."""
        self._clock = clock
        self._body_bytes_max = body_bytes_max
        self._sockets: dict[str, socket.socket] = {}
        """The last connection made for each address."""
        # No proxies or credentials from the environment: a target is where the settings say.
        self._client = httpx.Client(
            transport=transport, follow_redirects=False, trust_env=False, headers=_HEADERS
        )

    def abort(self, url: str) -> None:
        """End a fetch that is long past its time: httpx bounds each wait for the head of an answer,
        and not their sum, so a target that sends one byte after the other would hold its thread."""
        connection = self._sockets.get(url)
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _noting(self, url: str) -> Callable[[str, Mapping[str, Any]], None]:
        def note(event: str, info: Mapping[str, Any]) -> None:
            if event in _CONNECTED:
                made = info["return_value"].get_extra_info("socket")
                if isinstance(made, socket.socket):
                    self._sockets[url] = made

        return note

    def get(self, url: str, timeout_s: float) -> Fetched:
        """Fetch one page in at most about `timeout_s` seconds of the clock, if whoever calls this
        in a thread calls `abort` after that."""
        begin_s = self._clock.monotonic_s()
        status, text = 0, ""
        try:
            # httpx bounds each wait; the deadline bounds their sum (a body in slow drips).
            extensions = {"trace": self._noting(url)}
            with self._client.stream(
                "GET", url, timeout=timeout_s, extensions=extensions
            ) as response:
                status = response.status_code
                outcome = _of_status(response)
                if outcome is Outcome.OK:
                    body = b"".join(self._body(response, begin_s + timeout_s))
                    text = body.decode("utf-8", "replace")
        except _Refusal as refusal:
            outcome, text = refusal.outcome, ""
        except httpx.TimeoutException:
            outcome = Outcome.TIMEOUT
        except httpx.ConnectError as error:
            refused = "refused" in str(error).lower()
            outcome = Outcome.REFUSED if refused else Outcome.UNREACHABLE
        except (httpx.HTTPError, httpx.InvalidURL):
            late = self._clock.monotonic_s() - begin_s > timeout_s  # ended by `abort`
            outcome = Outcome.TIMEOUT if late else Outcome.UNREACHABLE
        return Fetched(outcome, text, status, self._clock.monotonic_s() - begin_s)

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()

    def _body(self, response: httpx.Response, deadline_s: float) -> Iterator[bytes]:
        """The unpacked body in pieces. Raises _Refusal at the deadline and at the size limit."""
        packed = response.headers.get("content-encoding", "") == "gzip"
        unpack = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if packed else None
        left = self._body_bytes_max
        for chunk in response.iter_raw():
            if self._clock.monotonic_s() > deadline_s:
                raise _Refusal(Outcome.TIMEOUT)
            piece = chunk
            if unpack is not None:
                try:
                    # One byte more than allowed is enough to know; a bomb is never unpacked.
                    piece = unpack.decompress(chunk, left + 1)
                except zlib.error as error:
                    raise _Refusal(Outcome.UNREADABLE) from error
            left -= len(piece)
            if left < 0:
                raise _Refusal(Outcome.OVERSIZE)
            yield piece


def _of_status(response: httpx.Response) -> Outcome:
    if response.status_code == httpx.codes.OK:
        return Outcome.OK
    return Outcome.REDIRECT if response.is_redirect else Outcome.STATUS
