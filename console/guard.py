"""What every request passes before a route sees it, and every answer on its way out.

Host, cross-site writes and size of the body are judged here, so that no route can forget them; how
often somebody may change something is judged when it is known who they are (`console.context`).
Plain ASGI: the live stream must not be buffered.
"""

import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.problems import Problem, problem_json
from fleetmend.settings.console import ConsoleSettings

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
"""No inline script or style anywhere, so no nonce is needed."""

HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=()",
}


Answered = Callable[[str, int], None]
"""Told the route's pattern and the status of every answer."""


class _TooLarge(Exception):
    """The body went past the bound while it was read."""


class _Body:
    """The request's body, read up to a bound."""

    def __init__(self, receive: Receive, bytes_max: int) -> None:
        self._receive = receive
        self._left = bytes_max
        self.too_large = False

    async def receive(self) -> Message:
        """The next message. Raises _TooLarge past the bound."""
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            self.too_large = True
            raise _TooLarge
        return message


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(self, app: ASGIApp, *, settings: ConsoleSettings, answered: Answered) -> None:
        self._app = app
        self._answered = answered
        self._hosts = {host.lower() for host in settings.hosts}
        self._body_max = settings.body_bytes_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, then hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                _dress(message)
                self._answered(_pattern(scope), message["status"])
            await send(message)

        problem = self._refusal(scope)
        if problem is not None:
            await problem_json(problem)(scope, receive, dressed)
            return
        body = _Body(receive, self._body_max)

        async def unless_too_large(message: Message) -> None:
            # Whatever the application makes of a body that was cut off, the answer is one.
            if not body.too_large:
                await dressed(message)

        with contextlib.suppress(_TooLarge):
            await self._app(scope, body.receive, unless_too_large)
        if body.too_large:
            await problem_json(self._too_large())(scope, receive, dressed)

    def _refusal(self, scope: Scope) -> Problem | None:
        headers = Headers(scope=scope)
        host = headers.get("host", "")
        if _hostname(host) not in self._hosts:
            return Problem(421, "wrong_host", "This console does not answer to that name.")
        if scope["method"] in SAFE_METHODS:
            return None
        if not _same_site(headers, host):
            return Problem(
                403, "cross_site", "Changes are taken from this console's own pages only."
            )
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._body_max:
            return self._too_large()
        return None

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"A request may hold {self._body_max} bytes.")


def _hostname(host: str) -> str:
    """The Host header without its port, lower case; IPv6 keeps its brackets."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdecimal() else host.lower()


def _same_site(headers: Headers, host: str) -> bool:
    """True unless a browser says that another site sent this."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _pattern(scope: Scope) -> str:
    """The pattern of the route that answered: few values, whatever is asked for. A route knows only
    its own part of the path, so the API's are told from the pages' here."""
    pattern = str(getattr(scope.get("route"), "path", "other"))
    within = scope["path"].startswith("/api/") and not pattern.startswith("/api/")
    return f"/api/v1{pattern}" if within and pattern != "other" else pattern


def _dress(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("cache-control", "no-store")
