"""OTLP over HTTP/1.1: POST /v1/metrics and /v1/logs, protobuf or JSON, gzip or not; and thumbs of
people as plain JSON, POST /v1/feedback.

The standard library's server, a thread for each connection, so many at once and no more. A request
has one deadline from its first byte: who trickles is cut off by `reap`, which the loop calls.
"""

import json
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from google.protobuf.message import Message

from collectors.otlp.answers import binary, feedback_answer, logs_answer, metrics_answer, text
from collectors.otlp.doors import Reason, Refused, Senders, inflated
from collectors.otlp.intake import Full, Intake, Taken
from collectors.otlp.json_form import logs_from_json, metrics_from_json
from fleetmend.clock import Clock
from fleetmend.errors import BadInput, SettingsError
from fleetmend.settings.otlp import OtlpSettings

_STATUS = {
    Reason.UNAUTHENTICATED: 401,
    Reason.OVERSIZE: 413,
    Reason.UNREADABLE: 400,
    Reason.ENCODING: 415,
    Reason.CONTENT_TYPE: 415,
    Reason.BUSY: 503,
    Reason.TIMEOUT: 408,
}
_BINARY, _JSON = "application/x-protobuf", "application/json"
_JSON_DEARER = 8
"""JSON may be so much shorter: protobuf's JSON parser takes that much longer."""


@dataclass(frozen=True, slots=True)
class _Way:
    """What is done with what is sent to one path."""

    take: Callable[[str, bytes], Taken]
    from_json: Callable[[bytes], bytes]
    answer: Callable[[Taken, str], bytes]
    """In the form of the request."""
    forms: tuple[str, ...] = (_BINARY, _JSON)


def _ways(intake: Intake) -> dict[str, _Way]:
    def told(message: Message, form: str) -> bytes:
        return text(message) if form == _JSON else binary(message)

    return {
        "/v1/metrics": _Way(
            intake.metrics, metrics_from_json, lambda taken, form: told(metrics_answer(taken), form)
        ),
        "/v1/logs": _Way(
            intake.logs, logs_from_json, lambda taken, form: told(logs_answer(taken), form)
        ),
        "/v1/feedback": _Way(
            intake.feedback, bytes, lambda taken, _: feedback_answer(taken), (_JSON,)
        ),
    }


class HttpDoor(ThreadingHTTPServer):
    """The server; `serve_forever` runs in a thread of its own."""

    daemon_threads = True
    request_queue_size = 64
    allow_reuse_address = True

    def __init__(
        self, settings: OtlpSettings, intake: Intake, senders: Senders, clock: Clock
    ) -> None:
        """Raises SettingsError when the address cannot be had."""
        self.settings, self.intake, self.senders, self.clock = settings, intake, senders, clock
        self.ways = _ways(intake)
        self._free = threading.BoundedSemaphore(settings.requests_max)
        self._lock = threading.Lock()
        self._until_s: dict[socket.socket, float] = {}
        """Connections and when each must have ended its request."""
        family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
        self.address_family = family
        try:
            super().__init__((settings.host, settings.http_port), _Handler)
        except OSError as error:
            raise SettingsError(str(error), where="collectors.otlp.http_port") from error

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.server_address[1])

    def reap(self) -> None:
        """Cut off connections that are past their deadline."""
        now_s = self.clock.monotonic_s()
        with self._lock:
            late = [each for each, until_s in self._until_s.items() if until_s < now_s]
        for each in late:
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it has gone by itself

    def renew(self, connection: socket.socket) -> None:
        """A new request begins on a connection."""
        with self._lock:
            self._until_s[connection] = self.clock.monotonic_s() + self.settings.request_timeout_s

    def process_request(self, request: Any, client_address: Any) -> None:
        """Take a connection, or say that there are too many."""
        if not self._free.acquire(blocking=False):
            self.intake.refuse("", Reason.BUSY)
            try:
                request.settimeout(1.0)
                request.sendall(
                    b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n"
                    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
                )
            except OSError:
                pass
            self.shutdown_request(request)
            return
        self.renew(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._until_s.pop(request, None)
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A connection that broke: counted, never printed."""
        self.intake.refuse("", Reason.TIMEOUT)


class _Handler(BaseHTTPRequestHandler):
    server: HttpDoor
    protocol_version = "HTTP/1.1"
    server_version = "fleetmend"
    sys_version = ""

    def setup(self) -> None:
        """One read or write waits no longer than a whole request may."""
        self.request.settimeout(self.server.settings.request_timeout_s)
        super().setup()

    def do_POST(self) -> None:
        """Take a message."""
        way = self.server.ways.get(self.path.partition("?")[0])
        sender, body = "", b""
        try:
            if way is None:
                self._answer(404, b"", _JSON, close=True)
                return
            sender = self.server.senders.name(self.headers.get("Authorization") or "")
            form = (self.headers.get("Content-Type") or "").partition(";")[0].strip().lower()
            if form not in way.forms:
                raise Refused(Reason.CONTENT_TYPE, " or ".join(way.forms))
            limit = self.server.settings.body_bytes_max
            body = self._body(limit // _JSON_DEARER if form == _JSON else limit)
            taken = way.take(sender, way.from_json(body) if form == _JSON else body)
            self._answer(200, way.answer(taken, form), form)
        except Refused as refused:
            self._refuse(sender, refused.reason, refused.what, body)
        except BadInput as error:
            self._refuse(sender, Reason.UNREADABLE, error.what, body)
        except Full:
            self._refuse(sender, Reason.BUSY, "the log is behind", b"")
        finally:
            self.server.renew(self.connection)

    def _body(self, bytes_max: int) -> bytes:
        length = self.headers.get("Content-Length") or ""
        if not (length.isdecimal() and len(length) < 12):
            raise Refused(Reason.UNREADABLE, "Content-Length is needed")
        if int(length) > bytes_max:
            raise Refused(Reason.OVERSIZE)
        body = self.rfile.read(int(length))
        if len(body) < int(length):
            raise Refused(Reason.TIMEOUT, "the body ended early")
        encoding = (self.headers.get("Content-Encoding") or "").strip().lower()
        return inflated(body, encoding, bytes_max=bytes_max)

    def _refuse(self, sender: str, reason: Reason, what: str, body: bytes) -> None:
        self.server.intake.refuse(sender, reason, payload=body)
        told = json.dumps({"code": 8 if reason is Reason.BUSY else 3, "message": what}).encode()
        # What is left of the body is not read: the connection is of no more use.
        self._answer(_STATUS[reason], told, _JSON, close=True)

    def _answer(self, status: int, body: bytes, form: str, *, close: bool = False) -> None:
        self.send_response(status)
        self.send_header("Content-Type", form)
        self.send_header("Content-Length", str(len(body)))
        if status == 503:
            self.send_header("Retry-After", "1")
        if close:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Silent: refusals are counted and kept as dead letters."""
