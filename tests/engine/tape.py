"""Recording: what an engine answered and printed, as the collectors' own connections got it.

A tape is a file of JSON lines, packed by xz: metrics pages are 50 KB each and nearly equal, and its
window reaches over many of them. `film` plays it.
"""

import asyncio
import json
import lzma
import threading
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from collectors.connections import NetworkFetcher
from collectors.fetch import Fetched
from collectors.tail import Tail
from fleetmend.clock import Clock
from fleetmend.settings.collectors import CollectorsSettings

_LINE_MAX = 400
_LINES_MAX = 400
_REQUEST = " HTTP/1."
Row = dict[str, str | int | float]


@dataclass(slots=True)
class Tape:
    """What happened, in seconds since the tape began; used by several threads."""

    clock: Clock
    started_s: float = field(init=False)
    rows: list[Row] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """It begins now."""
        self.started_s = self.clock.now_s()

    def note(self, since_s: float, **row: str | int | float) -> None:
        """One row, of something that began at `since_s` (Unix seconds)."""
        with self._lock:
            begun_s = round(since_s - self.started_s, 3)
            took_s = round(self.clock.now_s() - since_s, 4)
            self.rows.append({"s": begun_s, "took": took_s, **row})

    def save(self, path: Path, **header: str | int | float) -> None:
        """Write it with a first row of its own."""
        with self._lock:
            rows = [header, *sorted(self.rows, key=lambda row: float(row["s"]))]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        path.write_bytes(lzma.compress(text.encode(), preset=9 | lzma.PRESET_EXTREME))


class TapedPages:
    """The scraper's own way to the network, listened to."""

    def __init__(self, tape: Tape, limits: CollectorsSettings) -> None:
        self._tape = tape
        self._limits = limits
        self._network = NetworkFetcher(
            tape.clock, body_bytes_max=limits.body_bytes_max, held_bytes_max=limits.held_bytes_max
        )

    def begin(self, url: str, timeout_s: float, ca_file: str = "") -> "Future[Fetched]":
        """As of the network."""
        since_s = self._tape.clock.now_s()
        future = self._network.begin(url, timeout_s, ca_file)
        future.add_done_callback(lambda done: self._note(since_s, done.result()))
        return future

    def _note(self, since_s: float, fetched: Fetched) -> None:
        page = fetched.text(self._limits.body_bytes_max) if fetched.body else ""
        self._tape.note(since_s, page=page, outcome=fetched.outcome.value, status=fetched.status)

    def close(self) -> None:
        """Let go of connections."""
        self._network.close()


class TapedAnswers(httpx.AsyncBaseTransport):
    """The network, for the canary probe: no connection is used twice."""

    def __init__(self, tape: Tape) -> None:
        self._tape = tape
        limits = httpx.Limits(max_keepalive_connections=0)
        self._network = httpx.AsyncHTTPTransport(trust_env=False, limits=limits)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """An answer, or how there was none."""
        since_s, asked = self._tape.clock.now_s(), asked_of(request)
        try:
            response = await self._network.handle_async_request(request)
            body = await response.aread()
        except asyncio.CancelledError:
            self._tape.note(since_s, asked=asked, error="timeout")
            raise
        except httpx.HTTPError as error:
            self._tape.note(since_s, asked=asked, error=_word(error))
            raise
        self._tape.note(since_s, asked=asked, status=response.status_code, body=body.decode())
        return httpx.Response(response.status_code, stream=httpx.ByteStream(body))

    async def aclose(self) -> None:
        """Let go of connections."""
        await self._network.aclose()


class TapedLines:
    """A log that is followed; its first lines are kept."""

    def __init__(self, tape: Tape, tail: Tail, name: str, *, about: str = "") -> None:
        """`name` of the field of its rows; `about`: only lines that say this, in any case. Lines
        about single requests are never kept."""
        self._tape = tape
        self._tail = tail
        self._name = name
        self._about = about
        self._left = _LINES_MAX
        self._home = str(Path.home())

    def poll(self) -> list[str]:
        """As of the log."""
        lines = self._tail.poll()
        now_s = self._tape.clock.now_s()
        said = [line for line in lines if self._about in line.lower() and _REQUEST not in line]
        wanted = said[: self._left]
        for line in wanted:
            self._tape.note(now_s, **{self._name: line[:_LINE_MAX].replace(self._home, "~")})
        self._left -= len(wanted)
        return lines

    def wait(self, timeout_s: float) -> bool:
        """As of the log."""
        return self._tail.wait(timeout_s)

    def close(self) -> None:
        """Let go of it."""
        self._tail.close()


def asked_of(request: httpx.Request) -> str:
    """What a request is about: its path, and what it wants completed."""
    content = request.content
    prompt = json.loads(content).get("prompt", "") if content else ""
    return f"{request.url.path} {prompt}".strip()


def _word(error: httpx.HTTPError) -> str:
    """How it went wrong, as a film must make it go wrong again."""
    if isinstance(error, httpx.TimeoutException):
        return "timeout"
    if isinstance(error, httpx.ConnectError):
        return "refused"
    return "broken"
