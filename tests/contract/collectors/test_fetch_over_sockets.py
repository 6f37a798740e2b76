"""The fetcher against real sockets: every way to answer badly has a name, an end and a bound."""

import contextlib
import gzip
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from collectors.connections import NetworkFetcher
from collectors.fetch import Fetched, Outcome
from fleetmend.clock import SystemClock

Reply = Callable[[socket.socket], object]
BODY_MAX, HELD_MAX = 100_000, 400_000
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
NOWHERE = "http://127.0.0.1:1/"


class Server:
    """A server on loopback that answers each request in its own way, and keeps connections."""

    def __init__(self, reply: Reply, trust: ssl.SSLContext | None = None) -> None:
        self.reply = reply
        self.connections = 0
        self.over = threading.Event()
        self._trust = trust
        self._sockets: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.url = f"{'http' if trust is None else 'https'}://localhost:{self.port}/metrics"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End, and let go of every request that hangs."""
        self.over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._sockets.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        try:
            if self._trust is not None:
                connection = self._trust.wrap_socket(connection, server_side=True)
                self._sockets.append(connection)
            with connection:
                while connection.recv(65_536):
                    self.reply(connection)
        except OSError:
            return  # the fetcher has hung up, as it should


@contextmanager
def server(reply: Reply, trust: ssl.SSLContext | None = None) -> Iterator[Server]:
    """One for the time of a test."""
    made = Server(reply, trust)
    try:
        yield made
    finally:
        made.close()


def http(body: bytes, *, status: str = "200 OK", **headers: str) -> bytes:
    """An HTTP response."""
    named = "".join(f"{k.replace('_', '-')}: {v}\r\n" for k, v in headers.items())
    length = f"content-length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{length}{named}\r\n".encode() + body


def sends(answer: bytes) -> Reply:
    """Always the same answer."""
    return lambda connection: connection.sendall(answer)


def last(answer: bytes) -> Reply:
    """The same, and then the connection ends."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(answer)
        connection.shutdown(socket.SHUT_WR)

    return reply


@pytest.fixture
def fetcher() -> Iterator[NetworkFetcher]:
    """One with small limits."""
    made = NetworkFetcher(SystemClock(), body_bytes_max=BODY_MAX, held_bytes_max=HELD_MAX)
    yield made
    made.close()


def get(fetcher: NetworkFetcher, url: str, timeout_s: float = 10.0, **more: str) -> Fetched:
    """What comes of one fetch."""
    return fetcher.begin(url, timeout_s, **more).result(30)


def test_a_page_is_read_and_unpacked(fetcher: NetworkFetcher) -> None:
    with server(sends(http(gzip.compress(b"a 1\n"), content_encoding="gzip"))) as one:
        fetched = get(fetcher, one.url)
    assert (fetched.outcome, fetched.status, fetched.text(100)) == (Outcome.OK, 200, "a 1\n")


@pytest.mark.parametrize(
    "answer",
    [
        CHUNKED + b"2\r\na \r\n2;x=y\r\n1\n\r\n0\r\nTrailer: x\r\n\r\n",
        HEAD + b"Content-Length: 4\r\nContent-Length: 4\r\n\r\na 1\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + http(b"a 1\n"),
        b"HTTP/1.0 200\r\n\r\na 1\n",
    ],
)
@pytest.mark.parametrize("at_once", [True, False])
def test_every_form_of_a_body_is_read_however_it_is_cut(
    fetcher: NetworkFetcher, answer: bytes, at_once: bool
) -> None:
    def reply(connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in [answer] if at_once else [answer[n : n + 1] for n in range(len(answer))]:
            connection.sendall(piece)
        connection.shutdown(socket.SHUT_WR)

    with server(reply) as one:
        assert get(fetcher, one.url).text(100) == "a 1\n"


def test_a_connection_serves_scrape_after_scrape(fetcher: NetworkFetcher) -> None:
    with server(sends(http(b"a 1\n"))) as one:
        assert [get(fetcher, one.url).outcome for _ in range(5)] == [Outcome.OK] * 5
        assert one.connections == 1


def test_a_connection_that_the_server_closed_meanwhile_is_made_anew(
    fetcher: NetworkFetcher,
) -> None:
    with server(last(http(b"a 1\n"))) as one:
        assert [get(fetcher, one.url).outcome for _ in range(5)] == [Outcome.OK] * 5


def test_what_is_asked_names_the_host_and_the_whole_path(fetcher: NetworkFetcher) -> None:
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(http(b"a 1\n"))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listener.getsockname()[1]
        get(fetcher, f"http://127.0.0.1:{port}/é/metrics?match=a&b=%20c")
        thread.join(10)
    lines = asked[0].decode().split("\r\n")
    assert lines[0] == "GET /%C3%A9/metrics?match=a&b=%20c HTTP/1.1"
    assert f"Host: 127.0.0.1:{port}" in lines


def test_nobody_listening_is_a_refusal(fetcher: NetworkFetcher) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    assert get(fetcher, f"http://127.0.0.1:{port}/metrics").outcome is Outcome.REFUSED
    assert get(fetcher, f"http://localhost:{port}/metrics").outcome is Outcome.REFUSED


@pytest.mark.parametrize("url", ["http://no-such-name.invalid/", "http://h:99999/", "http://[x/"])
def test_an_address_that_leads_nowhere_is_unreachable(fetcher: NetworkFetcher, url: str) -> None:
    assert get(fetcher, url).outcome is Outcome.UNREACHABLE


def hangs(connection: socket.socket) -> None:
    """Takes the request and says nothing."""
    connection.recv(1)


def endless(begin: bytes, piece: bytes, pause_s: float = 0.0) -> Reply:
    """An answer without an end."""

    def reply(connection: socket.socket) -> None:
        connection.sendall(begin)
        while True:
            connection.sendall(piece)
            threading.Event().wait(pause_s)

    return reply


@pytest.mark.parametrize(
    "reply",
    [
        hangs,
        endless(HEAD + b"X: ", b"a", 0.01),
        endless(HEAD + b"Content-Length: 9999\r\n\r\n", b" ", 0.01),
        endless(CHUNKED, b"4\r\na 1\n\r\n", 0.01),
        endless(b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\n\r\n", 0.01),
    ],
    ids=["hangs", "head in drips", "body in drips", "chunks in drips", "greets for ever"],
)
def test_who_does_not_come_to_an_end_is_cut_off_in_time(
    fetcher: NetworkFetcher, reply: Reply
) -> None:
    with server(reply) as one:
        fetched = get(fetcher, one.url, 0.3)
    assert fetched.outcome is Outcome.TIMEOUT
    assert 0.3 <= fetched.duration_s < 3.0


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        (endless(HEAD, b"X-Filler: " + b"a" * 1000 + b"\r\n"), Outcome.OVERSIZE),
        (endless(HEAD + b"\r\n", b"a 1\n" * 10_000), Outcome.OVERSIZE),
        (endless(CHUNKED, b"1000\r\n" + b"a" * 4096 + b"\r\n"), Outcome.OVERSIZE),
        (endless(CHUNKED, b"1\r\na\r\n" * 1000), Outcome.OVERSIZE),
        (endless(CHUNKED + b"0\r\n", b"T: t\r\n" * 1000), Outcome.OVERSIZE),
        (endless(CHUNKED, b"1;" + b"x" * 1000), Outcome.PROTOCOL),
        (sends(HEAD + b"Content-Length: 99999999999\r\n\r\n"), Outcome.OVERSIZE),
        (sends(CHUNKED + b"7fffffff\r\n"), Outcome.OVERSIZE),
    ],
)
def test_gigabytes_are_not_taken(fetcher: NetworkFetcher, reply: Reply, outcome: Outcome) -> None:
    with server(reply) as one:
        assert get(fetcher, one.url).outcome is outcome


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (http(b"", status="503 Service Unavailable"), Outcome.STATUS),
        (http(b"", status="204 No Content"), Outcome.STATUS),
        (b"garbage\r\n\r\n", Outcome.PROTOCOL),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Outcome.PROTOCOL),
        (b"HTTP/2 200\r\n\r\n", Outcome.PROTOCOL),
        (HEAD + b"no header\r\n\r\n", Outcome.PROTOCOL),
        (HEAD + b"Content-Length: -4\r\n\r\n", Outcome.PROTOCOL),
        (HEAD + b"Content-Length: 4\r\nContent-Length: 5\r\n\r\n", Outcome.PROTOCOL),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n", Outcome.PROTOCOL),
        (CHUNKED + b"0x4\r\na 1\n\r\n0\r\n\r\n", Outcome.PROTOCOL),
        (CHUNKED + b"4\r\na 1\nXX0\r\n\r\n", Outcome.PROTOCOL),
        (http(b"a 1\n", content_encoding="br"), Outcome.UNREADABLE),
        (http(b"a 1\n").replace(b"length: 4", b"length: 9"), Outcome.UNREACHABLE),
        (CHUNKED + b"4\r\na 1\n\r\n", Outcome.UNREACHABLE),
        (b"", Outcome.UNREACHABLE),
    ],
)
def test_broken_answers_are_outcomes_and_never_exceptions(
    fetcher: NetworkFetcher, answer: bytes, outcome: Outcome
) -> None:
    with server(last(answer)) as one:
        assert get(fetcher, one.url).outcome is outcome


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_leads_nowhere_least_of_all_inside(fetcher: NetworkFetcher, status: int) -> None:
    """A tenant's engine must not have us ask the cluster's own addresses."""
    with server(sends(http(b"secret 1\n"))) as inside:
        answer = http(b"", status=f"{status} Found", location=inside.url)
        with server(sends(answer)) as one:
            assert get(fetcher, one.url).outcome is Outcome.REDIRECT
        assert inside.connections == 0


def test_all_answers_together_hold_so_many_bytes_and_the_longest_goes_first(
    fetcher: NetworkFetcher,
) -> None:
    """Each alone is within its own bound, five of them are not."""
    begun = threading.Barrier(6)

    def reply(connection: socket.socket) -> None:
        connection.sendall(HEAD + b"\r\n" + b"a" * 95_000)
        begun.wait(10)
        connection.recv(1)

    with server(reply) as big, server(sends(http(b"a 1\n"))) as small:
        futures = [fetcher.begin(f"{big.url}?{n}", 2.0) for n in range(5)]
        begun.wait(10)
        outcomes = [future.result(30).outcome for future in futures]
        assert get(fetcher, small.url).outcome is Outcome.OK
    assert sorted(outcomes) == [Outcome.OVERSIZE] + [Outcome.TIMEOUT] * 4


@pytest.fixture(scope="session")
def identity(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of its own for localhost, with its key."""
    path = tmp_path_factory.mktemp("tls") / "identity.pem"
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"]
    files = ["-keyout", str(path), "-out", f"{path}.crt"]
    subprocess.run(
        ["openssl", "req", "-x509", *curve, *name, *files], check=True, capture_output=True
    )
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def serves(identity: Path) -> ssl.SSLContext:
    """A TLS server with that certificate."""
    trust = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trust.load_cert_chain(identity)
    return trust


def test_a_page_behind_tls_is_read_when_its_certificate_is_trusted(
    fetcher: NetworkFetcher, identity: Path
) -> None:
    with server(sends(http(b"a 1\n")), serves(identity)) as one:
        trusted = [get(fetcher, one.url, ca_file=f"{identity}.crt") for _ in range(3)]
        assert [each.text(100) for each in trusted] == ["a 1\n"] * 3
        assert one.connections == 1


def test_bad_tls_is_a_word_of_its_own(fetcher: NetworkFetcher, identity: Path) -> None:
    """A certificate nobody vouches for, one of another name, no TLS at all, a hang-up."""
    trusted = f"{identity}.crt"
    with server(sends(http(b"a 1\n")), serves(identity)) as one:
        assert get(fetcher, one.url).outcome is Outcome.TLS
        other = one.url.replace("localhost", "127.0.0.1")
        assert get(fetcher, other, ca_file=trusted).outcome is Outcome.TLS
        assert get(fetcher, one.url, ca_file="/no/such/file").outcome is Outcome.TLS
    for reply in (sends(http(b"a 1\n")), last(b"")):
        with server(reply) as plain:
            url = plain.url.replace("http:", "https:")
            assert get(fetcher, url, ca_file=trusted).outcome is Outcome.TLS


def test_a_handshake_that_hangs_ends_in_time(fetcher: NetworkFetcher, identity: Path) -> None:
    with server(hangs) as one:
        url = one.url.replace("http:", "https:")
        assert get(fetcher, url, 0.3, ca_file=f"{identity}.crt").outcome is Outcome.TIMEOUT


def test_hundreds_that_hang_hold_up_nobody(fetcher: NetworkFetcher) -> None:
    with server(hangs) as bad, server(sends(http(b"a 1\n"))) as good:
        hanging = [fetcher.begin(f"{bad.url}?{n}", 5.0) for n in range(300)]
        begin_s = time.perf_counter()
        assert get(fetcher, good.url).outcome is Outcome.OK
        assert time.perf_counter() - begin_s < 4.0
        fetcher.close()
        assert {future.result(10).outcome for future in hanging} == {Outcome.UNREACHABLE}
