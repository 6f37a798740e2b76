"""A server on loopback that answers as an engine does, or as a broken one would."""

import contextlib
import json
import socket
import threading
from collections.abc import Callable

_TLS_HELLO = 0x16
Body = dict[str, object]
Handler = Callable[["Call"], None]


class Call:
    """One request that has been read."""

    def __init__(
        self, connection: socket.socket, path: str, headers: str, body: bytes, over: threading.Event
    ) -> None:
        self.connection = connection
        self.path = path
        self.headers = headers
        self.body: Body = json.loads(body) if body else {}
        self.over = over
        """Set when the server ends."""

    def send(self, status: str, content: bytes, *headers: str) -> None:
        """A whole answer."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", *headers, "", ""]
        self.connection.sendall("\r\n".join(lines).encode() + content)

    def complete(self, tokens: list[str], logprobs: list[float | None], **more: object) -> None:
        """A completion, as vLLM words it."""
        choice = {
            "index": 0,
            "text": "".join(tokens),
            "logprobs": {"tokens": tokens, "token_logprobs": logprobs},
            "finish_reason": "length",
        }
        body = {"object": "text_completion", "model": "m", "choices": [choice], **more}
        self.send("200 OK", json.dumps(body).encode())


class EngineApi:
    """Answers each request in a thread of its own; `handler` may be changed while it runs."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.calls: list[Call] = []
        self._connections: list[socket.socket] = []
        self._over = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        """End, and let go of every request that hangs."""
        self._over.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._over.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            try:
                call = self._read(connection)
                if call.path == "/v1/models":
                    call.send("200 OK", b'{"data": [{"id": "m"}]}')
                elif call.path == "/version":
                    call.send("200 OK", b'{"version": "1.0"}')
                else:
                    self.calls.append(call)
                    self.handler(call)
            except OSError:
                return

    def _read(self, connection: socket.socket) -> Call:
        content = b""
        while b"\r\n\r\n" not in content:
            content += self._more(connection)
        head, _, body = content.partition(b"\r\n\r\n")
        text = head.decode("latin-1")
        wanted = next(
            (
                int(line.split(":")[1])
                for line in text.lower().split("\r\n")
                if "content-le" in line
            ),
            0,
        )
        while len(body) < wanted:
            body += self._more(connection)
        return Call(connection, text.split(" ")[1], text, body, self._over)

    def _more(self, connection: socket.socket) -> bytes:
        piece = connection.recv(65536)
        if not piece or piece[0] == _TLS_HELLO:
            raise ConnectionResetError
        return piece


def answers(call: Call) -> None:
    """As a healthy engine."""
    tokens = call.body["max_tokens"]
    assert isinstance(tokens, int)
    call.complete([f" t{at}" for at in range(tokens)], [-0.5] * tokens)


def hangs(call: Call) -> None:
    """Takes the request and says nothing, as with a stopped core."""
    call.over.wait(30)


def trickles_head(call: Call) -> None:
    """One byte after the other, without end, before there is a status."""
    call.connection.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while not call.over.wait(0.02):
        call.connection.sendall(b"a")


def trickles_body(call: Call) -> None:
    """A status at once, then one byte after the other."""
    call.connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n")
    while not call.over.wait(0.02):
        call.connection.sendall(b" ")


def closes(call: Call) -> None:
    """Ends the connection without a word."""
    call.connection.shutdown(socket.SHUT_RDWR)


def dies_half_way(call: Call) -> None:
    """Ends the connection within the body."""
    call.connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n{"choices"')


def says(status: str, content: bytes = b"", *headers: str) -> Handler:
    """Always the same answer."""
    return lambda call: call.send(status, content, *headers)
