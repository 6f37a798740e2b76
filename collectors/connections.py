"""Fetching over the network: one thread and its event loop for the pages of all targets.

`collectors.prometheus` begins fetches; what hangs, trickles or never ends holds a socket and a few
bytes, never a thread, and ends at its deadline. Connections are kept for the next scrape. Names are
looked up in threads, since the system's resolver blocks. Nothing is taken from the environment:
no proxy, no credentials. Redirects are not followed.
"""

import asyncio
import errno
import logging
import resource
import ssl
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote, urlsplit

from collectors.fetch import Fetched, Outcome, Refusal
from collectors.http_answer import Answer
from fleetmend.clock import Clock

logger = logging.getLogger(__name__)

_BUFFER = 262_144
_LOOKUPS = 16
"""Names that are looked up at once: a name server that is silent must not hold up all others."""
_UNRESERVED = "/?%:@!$&'()*+,;=-._~"
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a URL leads, and what is asked there."""

    url: str
    host: str
    port: int
    tls: bool
    request: bytes


class _Fetch:
    """One page under way."""

    __slots__ = (
        "answer",
        "begun_s",
        "ca_file",
        "connecting",
        "connection",
        "deadline",
        "future",
        "held",
        "place",
        "reused",
    )

    def __init__(self, place: _Place, ca_file: str, begun_s: float) -> None:
        self.place, self.ca_file, self.begun_s = place, ca_file, begun_s
        self.future: Future[Fetched] = Future()
        self.answer: Answer | None = None
        self.connection: _Connection | None = None
        self.connecting: asyncio.Task[None] | None = None
        self.deadline: asyncio.TimerHandle | None = None
        self.reused = False
        self.held = 0
        """Bytes that its answer keeps."""


class _Connection(asyncio.BufferedProtocol):
    """One connection: it serves one fetch at a time and tells its owner what comes."""

    __slots__ = ("_owner", "fetch", "transport", "url")

    def __init__(self, owner: "NetworkFetcher", url: str) -> None:
        self._owner = owner
        self.url = url
        self.fetch: _Fetch | None = None
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It stands."""
        self.transport = cast(asyncio.Transport, transport)

    def get_buffer(self, sizehint: int) -> memoryview:
        """All connections read into one buffer: what comes is taken out at once."""
        return self._owner.buffer

    def buffer_updated(self, nbytes: int) -> None:
        """So many bytes came."""
        self._owner.received(self, nbytes)

    def eof_received(self) -> bool:
        """The other side says no more."""
        self._owner.ended(self, None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._owner.ended(self, exc)

    def ask(self, fetch: _Fetch) -> bool:
        """Send the request of a fetch; false when the connection is gone."""
        if self.transport is None or self.transport.is_closing():
            return False
        self.fetch = fetch
        self.transport.write(fetch.place.request)
        return True

    def drop(self) -> None:
        """Let go of it at once."""
        self.fetch = None
        if self.transport is not None:
            self.transport.abort()


class NetworkFetcher:
    """Implements `collectors.fetch.Fetcher`. `begin` and `close` belong to one thread."""

    def __init__(self, clock: Clock, *, body_bytes_max: int, held_bytes_max: int) -> None:
        """`held_bytes_max`: most bytes of all answers under way; beyond it the one that holds most
        is given up."""
        self._clock = clock
        self._body_bytes_max = body_bytes_max
        self._held_bytes_max = held_bytes_max
        self.buffer = memoryview(bytearray(_BUFFER))
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._under_way: set[_Fetch] = set()
        self._held = 0
        self._idle: dict[str, _Connection] = {}
        """Connections that wait for the next scrape, by URL."""
        # Half of the files that the process may open: the rest is for logs, stores and new ones.
        self._idle_max = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 2
        self._places: dict[str, _Place] = {}
        self._trust: dict[str, ssl.SSLContext] = {}

    def begin(self, url: str, timeout_s: float, ca_file: str = "") -> Future[Fetched]:
        """Start to fetch a page; see `collectors.fetch.Fetcher`."""
        begun_s = self._clock.monotonic_s()
        try:
            place = self._places.get(url) or _place(url)
        except ValueError:
            nowhere: Future[Fetched] = Future()
            nowhere.set_result(Fetched(Outcome.UNREACHABLE))
            return nowhere
        self._places[url] = place
        fetch = _Fetch(place, ca_file, begun_s)
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            self._thread = threading.Thread(
                target=self._run, args=(self._loop,), name="fetch", daemon=True
            )
            self._thread.start()
        self._loop.call_soon_threadsafe(self._start, fetch, timeout_s)
        return fetch.future

    def close(self) -> None:
        """Give up what is under way and let go of all connections."""
        loop, thread = self._loop, self._thread
        if loop is None or thread is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        self._loop = self._thread = None

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        loop.set_exception_handler(_note)
        lookups = ThreadPoolExecutor(_LOOKUPS, "lookup")
        loop.set_default_executor(lookups)
        try:
            loop.run_forever()
            for fetch in list(self._under_way):
                self._finish(fetch, Outcome.UNREACHABLE)
            for connection in list(self._idle.values()):
                connection.drop()
            self._idle.clear()
            loop.run_until_complete(_settle(asyncio.all_tasks(loop)))
        finally:
            lookups.shutdown(wait=False, cancel_futures=True)
            loop.close()

    def _start(self, fetch: _Fetch, timeout_s: float) -> None:
        loop = asyncio.get_running_loop()
        self._under_way.add(fetch)
        fetch.deadline = loop.call_later(timeout_s, self._finish, fetch, Outcome.TIMEOUT)
        connection = self._idle.pop(fetch.place.url, None)
        if connection is None or not self._ask(fetch, connection, reused=True):
            self._connect(fetch)

    def _connect(self, fetch: _Fetch) -> None:
        fetch.connecting = asyncio.get_running_loop().create_task(self._connected(fetch))

    async def _connected(self, fetch: _Fetch) -> None:
        place = fetch.place
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self, place.url),
                place.host,
                place.port,
                ssl=self._trusted(fetch.ca_file) if place.tls else None,
                server_hostname=place.host if place.tls else None,
            )
        except ssl.SSLError:
            self._finish(fetch, Outcome.TLS)
        except OSError as error:
            refused = isinstance(error, ConnectionRefusedError) or _REFUSED in str(error)
            # A peer that hangs up within the handshake speaks no TLS.
            broken = Outcome.TLS if place.tls and isinstance(error, ConnectionResetError) else None
            self._finish(fetch, Outcome.REFUSED if refused else broken or Outcome.UNREACHABLE)
        except ValueError:  # no name that a host can have
            self._finish(fetch, Outcome.UNREACHABLE)
        else:
            fetch.connecting = None
            if fetch not in self._under_way or not self._ask(fetch, connection, reused=False):
                connection.drop()
                self._finish(fetch, Outcome.UNREACHABLE)

    def _trusted(self, ca_file: str) -> ssl.SSLContext:
        """Raises SSLError when the file cannot be read or holds no certificates."""
        trust = self._trust.get(ca_file)
        if trust is None:
            try:
                trust = ssl.create_default_context(cafile=ca_file or None)
            except OSError as error:
                raise ssl.SSLError(str(error)) from error
            self._trust[ca_file] = trust
        return trust

    def _ask(self, fetch: _Fetch, connection: _Connection, *, reused: bool) -> bool:
        """Whether the connection could be asked."""
        if not connection.ask(fetch):
            return False
        fetch.connection, fetch.reused = connection, reused
        fetch.answer = Answer(body_bytes_max=self._body_bytes_max)
        return True

    def received(self, connection: _Connection, count: int) -> None:
        """Bytes have come over a connection; they lie in the buffer."""
        fetch = connection.fetch
        if fetch is None or fetch.answer is None:
            self._forget(connection)  # it speaks unasked
            return
        try:
            done = fetch.answer.feed(self.buffer[:count])
        except Refusal as refusal:
            self._finish(fetch, refusal.outcome)
            return
        if done:
            self._finish(fetch, Outcome.OK)
            return
        held = fetch.answer.held
        self._held += held - fetch.held
        fetch.held = held
        if self._held > self._held_bytes_max:
            self._finish(max(self._under_way, key=lambda each: each.held), Outcome.OVERSIZE)

    def ended(self, connection: _Connection, error: Exception | None) -> None:
        """A connection is gone, or nothing more comes over it."""
        fetch = connection.fetch
        if fetch is None or fetch.answer is None:
            self._forget(connection)
        elif fetch.answer.end():
            self._finish(fetch, Outcome.OK)
        elif fetch.reused and not fetch.answer.held and not fetch.answer.status:
            # The server closed what it had kept open, just as it was asked again.
            connection.drop()
            self._connect(fetch)
        else:
            broken = isinstance(error, ssl.SSLError)
            self._finish(fetch, Outcome.TLS if broken else Outcome.UNREACHABLE)

    def _forget(self, connection: _Connection) -> None:
        if self._idle.get(connection.url) is connection:
            del self._idle[connection.url]
        connection.drop()

    def _finish(self, fetch: _Fetch, outcome: Outcome) -> None:
        if fetch not in self._under_way:
            return
        self._under_way.remove(fetch)
        self._held -= fetch.held
        if fetch.deadline is not None:
            fetch.deadline.cancel()
        if fetch.connecting is not None:
            fetch.connecting.cancel()
        answer, connection = fetch.answer, fetch.connection
        fetched = Fetched(outcome, duration_s=self._clock.monotonic_s() - fetch.begun_s)
        if answer is not None:
            body = answer.body if outcome is Outcome.OK else b""
            fetched = Fetched(outcome, body, answer.packed, answer.status, fetched.duration_s)
        if connection is not None:
            kept = outcome is Outcome.OK and answer is not None and answer.reusable
            if kept and fetch.place.url not in self._idle and len(self._idle) < self._idle_max:
                connection.fetch = None
                self._idle[fetch.place.url] = connection
            else:
                connection.drop()
        fetch.future.set_result(fetched)


def _place(url: str) -> _Place:
    """Raises ValueError for what leads nowhere."""
    parts = urlsplit(url)
    tls = parts.scheme == "https"
    host = parts.hostname or ""
    if not host:
        raise ValueError("no host")
    where = quote(parts.path or "/", safe=_UNRESERVED)
    if parts.query:
        where += "?" + quote(parts.query, safe=_UNRESERVED)
    shown = parts.netloc.encode("idna").decode()
    request = (
        f"GET {where} HTTP/1.1\r\nHost: {shown}\r\nUser-Agent: fleetmend\r\n"
        "Accept: text/plain;version=0.0.4\r\nAccept-Encoding: gzip\r\n\r\n"
    )
    return _Place(url, host, parts.port or (443 if tls else 80), tls, request.encode("ascii"))


async def _settle(tasks: set[asyncio.Task[Any]]) -> None:
    """Let what was cancelled and dropped come to its end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.sleep(0)
    await asyncio.sleep(0)


def _note(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Broken connections end as outcomes; what else goes wrong in the loop is a fault of ours."""
    if not isinstance(context.get("exception"), OSError):
        logger.error("fetch loop", extra={"what": str(context.get("message"))[:200]})
