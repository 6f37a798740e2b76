"""What every request passes before a route sees it, and every answer on its way out.

Host, cross-site writes, size of the body and rate are judged here, so that no route can forget
them.
Plain ASGI: the live stream must not be buffered.
"""

from collections.abc import Callable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.limits import RateLimit
from console.problems import Problem, problem_json
from fleetmend.clock import Clock
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


class TooLarge(Exception):
    """The body went past the bound while it was read."""


class Guard:
    """ASGI middleware around the whole application."""

    def __init__(
        self, app: ASGIApp, *, settings: ConsoleSettings, clock: Clock, answered: Answered
    ) -> None:
        self._app = app
        self._answered = answered
        self._hosts = {host.lower() for host in settings.hosts}
        self._body_max = settings.body_bytes_max
        self._rate = RateLimit(settings.writes_per_min, clock)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge, then hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def send_dressed(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _dress(message)
                route = getattr(scope.get("route"), "path", "other")
                self._answered(route, message["status"])
            await send(message)

        problem = self._refusal(scope)
        if problem is None:
            try:
                await self._app(scope, self._bounded(receive), send_dressed)
                return
            except TooLarge:
                if started:
                    raise
                problem = self._too_large()
        await problem_json(problem)(scope, receive, send_dressed)

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
        if not length.isdigit() or int(length) > self._body_max:
            return self._too_large()
        wait_s = self._rate.admit(scope["client"][0] if scope.get("client") else "")
        if wait_s:
            problem = Problem(429, "too_many", "Too many changes from this address.")
            problem.headers["retry-after"] = str(int(wait_s) + 1)
            return problem
        return None

    def _bounded(self, receive: Receive) -> Receive:
        left = self._body_max

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise TooLarge
            return message

        return bounded

    def _too_large(self) -> Problem:
        return Problem(413, "too_large", f"A request may hold {self._body_max} bytes.")


def _hostname(host: str) -> str:
    """The Host header without its port, lower case; IPv6 keeps its brackets."""
    name, colon, port = host.lower().rpartition(":")
    return name if colon and port.isdigit() else host.lower()


def _same_site(headers: Headers, host: str) -> bool:
    """True unless a browser says that another site sent this."""
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _dress(message: Message) -> None:
    headers = MutableHeaders(scope=message)
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    headers.setdefault("cache-control", "no-store")
