"""A receiver of notifications that enforces what the real ones enforce. Loopback, in a thread.

Paths: `/alertmanager` (a listener for Alertmanager's webhook, version 4), `/pagerduty` (Events v2),
`/webhook` (Standard Webhooks), `/any` (takes everything). It records every request, and can be told
how to answer the next ones. Used by the contract tests of alerting and by flow tests.
"""

import base64
import hashlib
import hmac
import json
import re
import socket
import ssl
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

ROUTING_KEY = "R0123456789ABCDEF0123456789ABCDE"
WEBHOOK_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105 - the specification's own
BEARER = "alertmanager-token"

_PIECE = b"x" * 65_536
_FLOOD_BYTES_MAX = 64 * 2**20

_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


class Refused(Exception):
    """A format's rule was broken."""


@dataclass(frozen=True, slots=True)
class Received:
    """One request and what was answered."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    status: int
    """0 when nothing was answered in HTTP."""
    fault: str = ""
    """The rule that it broke."""

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Misbehaviour:
    """How to answer one request instead of properly."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    garbage: bytes = b""
    """Sent raw instead of HTTP."""
    flood: bool = False
    """Say 200, then send up to 64 MiB without an end until the client leaves."""
    silent: bool = False
    """Never answer: hold the connection until the client leaves."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients that leave in the middle are what some tests are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typeshed's own


class Receiver:
    """A context manager; `url` is its address."""

    def __init__(self, tls: tuple[Path, Path] | None = None) -> None:
        """`tls`: certificate and key, for https."""
        self.received: list[Received] = []
        self.flooded_bytes = 0
        """How much a flood could send before the client left."""
        self.flood_ended = threading.Event()
        self._orders: deque[Misbehaviour] = deque()
        self._always: Misbehaviour | None = None
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _handler_of(self))
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}"
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self.url = f"https://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer_next(self, *orders: Misbehaviour) -> None:
        """Answer the next requests so, one each."""
        with self._lock:
            self._orders.extend(orders)

    def answer_always(self, order: Misbehaviour | None) -> None:
        """Answer all requests so, until told otherwise (None)."""
        with self._lock:
            self._always = order

    def order(self) -> Misbehaviour | None:
        """What is ordered for the request at hand."""
        with self._lock:
            return self._orders.popleft() if self._orders else self._always

    def record(self, received: Received) -> None:
        """Keep it."""
        with self._lock:
            self.received.append(received)

    @property
    def faults(self) -> list[str]:
        """Every rule that was broken."""
        return [received.fault for received in self.received if received.fault]


def check_alertmanager(headers: Mapping[str, str], body: bytes) -> None:
    """What a listener for Alertmanager's webhook relies on (WebhookMessage, version 4)."""
    if headers.get("authorization", f"Bearer {BEARER}") != f"Bearer {BEARER}":
        raise Refused("wrong bearer token")
    message = _json_object(headers, body)
    texts = ("version", "groupKey", "status", "receiver", "externalURL")
    _need(all(isinstance(message.get(name), str) for name in texts), "a text is missing")
    _need(message["version"] == "4", "version is not 4")
    _need(message["status"] in ("firing", "resolved"), "status")
    _need(isinstance(message.get("truncatedAlerts"), int), "truncatedAlerts")
    for name in ("groupLabels", "commonLabels", "commonAnnotations"):
        _need(_is_texts(message.get(name)), name)
    alerts: Any = message.get("alerts")
    _need(isinstance(alerts, list) and len(alerts) > 0, "alerts")
    for alert in alerts:
        _need(alert.get("status") in ("firing", "resolved"), "alert status")
        _need(_is_texts(alert.get("labels")) and "alertname" in alert["labels"], "labels")
        _need(_is_texts(alert.get("annotations")), "annotations")
        _need(bool(_RFC3339.fullmatch(alert.get("startsAt", ""))), "startsAt")
        _need(bool(_RFC3339.fullmatch(alert.get("endsAt", ""))), "endsAt")
        never = alert["endsAt"] == "0001-01-01T00:00:00Z"
        _need(never == (alert["status"] == "firing"), "endsAt does not fit the status")
        _need(bool(re.fullmatch(r"[0-9a-f]{16}", alert.get("fingerprint", ""))), "fingerprint")
        _need(isinstance(alert.get("generatorURL"), str), "generatorURL")


def check_pagerduty(headers: Mapping[str, str], body: bytes) -> None:
    """The rules of PagerDuty's Events API v2."""
    _need(len(body) < 512_000, "event too large")
    event = _json_object(headers, body)
    _need(event.get("routing_key") == ROUTING_KEY, "routing_key")
    action = event.get("event_action")
    _need(action in ("trigger", "acknowledge", "resolve"), "event_action")
    key = event.get("dedup_key", "")
    _need(isinstance(key, str) and len(key) <= 255, "dedup_key too long")
    if action != "trigger":
        _need(bool(key), "dedup_key is needed")
        return
    payload: Any = event.get("payload")
    _need(isinstance(payload, dict), "payload")
    summary = payload.get("summary")
    _need(isinstance(summary, str) and 0 < len(summary) <= 1024, "summary")
    _need(isinstance(payload.get("source"), str) and payload["source"] != "", "source")
    _need(payload.get("severity") in ("critical", "error", "warning", "info"), "severity")
    _need(bool(_RFC3339.fullmatch(payload.get("timestamp", ""))), "timestamp")
    for link in event.get("links", []):
        _need(isinstance(link.get("href"), str), "links")


def check_webhook(headers: Mapping[str, str], body: bytes) -> None:
    """The Standard Webhooks specification: three headers, one of the signatures fits."""
    id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    _need(bool(id) and "." not in id, "webhook-id")
    _need(stamp.isdigit(), "webhook-timestamp")
    key = base64.b64decode(WEBHOOK_SECRET.removeprefix("whsec_"))
    digest = hmac.digest(key, f"{id}.{stamp}.".encode() + body, hashlib.sha256)
    good = "v1," + base64.b64encode(digest).decode()
    given = headers.get("webhook-signature", "").split(" ")
    _need(any(hmac.compare_digest(good, one) for one in given), "webhook-signature")
    event = _json_object(headers, body)
    _need(isinstance(event.get("type"), str), "type")
    _need(bool(_RFC3339.fullmatch(event.get("timestamp", ""))), "timestamp")
    _need(isinstance(event.get("data"), dict), "data")


_CHECKS: dict[str, Callable[[Mapping[str, str], bytes], None]] = {
    "/alertmanager": check_alertmanager,
    "/pagerduty": check_pagerduty,
    "/webhook": check_webhook,
    "/any": lambda headers, body: None,
}

_ACCEPTED: dict[str, tuple[int, dict[str, str]]] = {
    "/alertmanager": (200, {}),
    "/pagerduty": (202, {"status": "success", "message": "Event processed", "dedup_key": "k"}),
    "/webhook": (204, {}),
    "/any": (200, {}),
}


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            order = receiver.order()
            if order is None:
                self._answer_properly(headers, body)
            elif order.silent or order.garbage or order.flood:
                receiver.record(Received(self.path, headers, body, 0))
                if order.silent:
                    _await_leaving(self.connection)
                elif order.garbage:
                    self.wfile.write(order.garbage)
                else:
                    self._flood()
                self.close_connection = True
            else:
                receiver.record(Received(self.path, headers, body, order.status))
                self._answer(order.status, order.body, order.headers)

        def _answer_properly(self, headers: Mapping[str, str], body: bytes) -> None:
            check = _CHECKS.get(self.path)
            if check is None:
                receiver.record(Received(self.path, headers, body, 404, "unknown path"))
                self._answer(404, b"", {})
                return
            try:
                check(headers, body)
            except Refused as fault:
                receiver.record(Received(self.path, headers, body, 400, str(fault)))
                self._answer(400, str(fault).encode(), {})
                return
            status, answer = _ACCEPTED[self.path]
            receiver.record(Received(self.path, headers, body, status))
            text = json.dumps(answer).encode() if status != 204 else b""
            self._answer(status, text, {"Content-Type": "application/json"})

        def _flood(self) -> None:
            try:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                while receiver.flooded_bytes < _FLOOD_BYTES_MAX:
                    self.wfile.write(_PIECE)
                    receiver.flooded_bytes += len(_PIECE)
            finally:
                receiver.flood_ended.set()

        def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Tests look at `received`, not at standard error."""

    return Handler


def _await_leaving(connection: socket.socket) -> None:
    connection.settimeout(60)
    try:
        connection.recv(1)
    except OSError:
        return


def _json_object(headers: Mapping[str, str], body: bytes) -> dict[str, Any]:
    _need(headers.get("content-type", "").startswith("application/json"), "content-type")
    try:
        value = json.loads(body)
    except ValueError as error:
        raise Refused("not JSON") from error
    if not isinstance(value, dict):
        raise Refused("no object")
    return value


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _need(rule: bool, name: str) -> None:
    if not rule:
        raise Refused(name)
