"""Who looks and who decides: tokens, the login cookie, bearer tokens of programs.

A token lies in a file that only its owner can read, or is known by its hash from the settings. A
login exchanges it for a signed cookie with the name for the audit log; nothing is kept on the
server, and other tokens end every login.
"""

import base64
import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from fastapi import Request

from fleetmend.clock import Clock
from fleetmend.errors import SettingsError
from fleetmend.settings.console import ConsoleRole, ConsoleSettings

COOKIE = "fleetmend_login"
NAME_CHARS_MAX = 64
TOKEN_CHARS_MIN = 16
API_NAME = "operator (API token)"
"""What the audit log calls a program that sends the first token."""


_RANK = {role: rank for rank, role in enumerate(ConsoleRole)}


@dataclass(frozen=True, slots=True)
class Operator:
    """A person (or program) who is known."""

    name: str
    """What the audit log calls them."""
    channel: str
    """`console` or `api`."""
    role: ConsoleRole

    def may(self, role: ConsoleRole) -> bool:
        """Whether they may do what this role may."""
        return _RANK[self.role] >= _RANK[role]


@dataclass(frozen=True, slots=True)
class _Holder:
    """Whose token it is; without a name they say it when they log in."""

    name: str
    role: ConsoleRole


def ensure_token(path: Path) -> bool:
    """Make a token file with 256 random bits, readable by its owner alone, unless there is one;
    true when it was made. Called by the command line before the console starts."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return False
    with os.fdopen(handle, "w") as file:
        file.write(secrets.token_urlsafe(32) + "\n")
    return True


class Operators:
    """Judges logins and requests. Raises SettingsError when the token file cannot be used."""

    def __init__(self, settings: ConsoleSettings, clock: Clock) -> None:
        self.open_to_all = settings.auth == "local-demo"
        self._clock = clock
        self._login_s = settings.login_s
        self._holders = {p.token_sha256: _Holder(p.name, p.role) for p in settings.people}
        self._names = {person.name for person in settings.people}
        # Without a file the key is this process's own: hashes are no secret to sign with.
        secret = secrets.token_bytes(32)
        if settings.token_file and not self.open_to_all:
            secret = _read_token(Path(settings.token_file))
            self._holders[_digest(secret.decode())] = _Holder("", ConsoleRole.ADMIN)
        known = " ".join(sorted(self._holders))
        self._key = hashlib.blake2b(
            f"fleetmend login cookie {known}".encode(), key=hashlib.sha256(secret).digest()
        ).digest()

    def login(self, name: str, token: str) -> str | None:
        """The cookie's value for a right token, else None. A token of one's own has the name."""
        digest = self._known(token)
        if self.open_to_all or digest is None:
            return None
        claim = json.dumps([self._named(digest, name), self._clock.now_s() + self._login_s, digest])
        body = base64.urlsafe_b64encode(claim.encode()).decode()
        return f"{body}.{self._sign(body)}"

    def who(self, request: Request) -> Operator | None:
        """Who asks, when it is somebody known."""
        if self.open_to_all:
            return Operator("local operator", "console", ConsoleRole.ADMIN)
        token = bearer(request)
        if token is None:
            return self._from_cookie(request.cookies.get(COOKIE, ""))
        digest = self._known(token)
        if digest is None:
            return None
        return Operator(self._named(digest, API_NAME), "api", self._holders[digest].role)

    def _from_cookie(self, cookie: str) -> Operator | None:
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        name, until_s, digest = json.loads(base64.urlsafe_b64decode(body))
        if self._clock.now_s() >= until_s:
            return None
        return Operator(name, "console", self._holders[digest].role)

    def _known(self, token: str) -> str | None:
        """The hash of a right token."""
        digest = _digest(token)
        known = [d for d in self._holders if hmac.compare_digest(d, digest)]
        return known[0] if known else None

    def _named(self, digest: str, said: str) -> str:
        """The name for the audit log; nobody says a name that somebody else has."""
        name = self._holders[digest].name or clean_name(said)
        taken = not self._holders[digest].name and name in self._names
        return f"{name} (by the first token)" if taken else name

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


def bearer(request: Request) -> str | None:
    """The token that a program sends; None when it sends none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else None


def _digest(token: str) -> str:
    return hashlib.sha256(token.strip().encode()).hexdigest()


def clean_name(name: str) -> str:
    """A name fit for the audit log: printable, on one line, bounded, never empty."""
    text = "".join(c for c in " ".join(name.split()) if c.isprintable())[:NAME_CHARS_MAX]
    return text or "operator"


def _read_token(path: Path) -> bytes:
    where, fix = "console.token_file", "Write a token into it, or let `fleetmend up` make one."
    try:
        token = path.read_text().strip()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}", where=where, fix=fix) from error
    if len(token) < TOKEN_CHARS_MIN:
        raise SettingsError(
            f"{path} holds fewer than {TOKEN_CHARS_MIN} characters", where=where, fix=fix
        )
    return token.encode()
