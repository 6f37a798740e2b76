"""The fetcher against a real socket: what a mock of HTTP cannot promise."""

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from collectors.fetch import Fetcher, Outcome
from fleetmend.clock import SystemClock

Reply = Callable[[socket.socket], object]


@contextmanager
def server(reply: Reply) -> Iterator[str]:
    """A server on loopback that answers one request in its own way."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.recv(65_536)
                try:
                    reply(connection)
                except OSError:
                    return  # the fetcher has hung up, as it should

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
    thread.join(timeout=30)
    assert not thread.is_alive()


def http(body: bytes, *, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response."""
    named = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    length = f"content-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{named}\r\n".encode() + body


@pytest.fixture
def fetcher() -> Iterator[Fetcher]:
    """One with a small size limit."""
    made = Fetcher(SystemClock(), body_bytes_max=100_000)
    yield made
    made.close()


def test_a_page_is_read_and_unpacked(fetcher: Fetcher) -> None:
    packed = http(gzip.compress(b"a 1\n"), content_encoding="gzip")
    with server(lambda c: c.sendall(packed)) as url:
        fetched = fetcher.get(url, 10.0)
    assert (fetched.outcome, fetched.status, fetched.text) == (Outcome.OK, 200, "a 1\n")


def test_nobody_listening_is_a_refusal(fetcher: Fetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/metrics"
    assert fetcher.get(url, 10.0).outcome is Outcome.REFUSED


def test_a_server_that_takes_the_request_and_says_nothing_times_out(fetcher: Fetcher) -> None:
    done = threading.Event()
    with server(lambda _: done.wait(60)) as url:
        assert fetcher.get(url, 0.2).outcome is Outcome.TIMEOUT
        done.set()


def test_a_server_that_drips_for_ever_is_cut_off(fetcher: Fetcher) -> None:
    done = threading.Event()

    def drip(connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while not done.wait(0.02):
            connection.sendall(b"4\r\na 1\n\r\n")

    with server(drip) as url:
        assert fetcher.get(url, 0.3).outcome is Outcome.TIMEOUT
        done.set()


def test_a_bomb_is_not_unpacked(fetcher: Fetcher) -> None:
    bomb = http(gzip.compress(b"a" * 50_000_000), content_encoding="gzip")
    with server(lambda c: c.sendall(bomb)) as url:
        assert fetcher.get(url, 10.0).outcome is Outcome.OVERSIZE


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(b"", status="503 Service Unavailable"), Outcome.STATUS),
        (http(b"", status="302 Found", location="http://127.0.0.1:1/"), Outcome.REDIRECT),
        (b"garbage\r\n\r\n", Outcome.UNREACHABLE),
        (http(b"a 1\n").replace(b"length: 4", b"length: 9"), Outcome.UNREACHABLE),
    ],
)
def test_broken_answers_are_outcomes_and_never_exceptions(
    fetcher: Fetcher, answer: bytes, outcome: Outcome
) -> None:
    with server(lambda c: c.sendall(answer)) as url:
        assert fetcher.get(url, 10.0).outcome is outcome
