"""Who decides: the operator token, the login cookie, bearer tokens of programs.

The token lies in a file that only the operator can read. A login exchanges it, with a name for the
audit log, for a signed cookie; nothing is kept on the server, and another token ends every login.
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

from console.problems import Problem
from fleetmend.clock import Clock
from fleetmend.errors import SettingsError
from fleetmend.settings.console import ConsoleSettings

COOKIE = "fleetmend_login"
NAME_CHARS_MAX = 64
TOKEN_CHARS_MIN = 16


@dataclass(frozen=True, slots=True)
class Operator:
    """A person (or program) who may decide."""

    name: str
    """What the audit log calls them."""
    channel: str
    """`console` or `api`."""


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
        self._token = b"" if self.open_to_all else _read_token(Path(settings.token_file))
        self._key = hashlib.blake2b(b"fleetmend login cookie", key=self._token[:64]).digest()

    def login(self, name: str, token: str) -> str | None:
        """The cookie's value for the right token, else None."""
        if self.open_to_all or not self._is_token(token):
            return None
        claim = json.dumps([clean_name(name), self._clock.now_s() + self._login_s])
        body = base64.urlsafe_b64encode(claim.encode()).decode()
        return f"{body}.{self._sign(body)}"

    def who(self, request: Request) -> Operator | None:
        """Who asks, when it is somebody who may decide."""
        if self.open_to_all:
            return Operator("local operator", "console")
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer":
            return Operator("operator (API token)", "api") if self._is_token(token) else None
        return self._from_cookie(request.cookies.get(COOKIE, ""))

    def require(self, request: Request) -> Operator:
        """Who asks. Raises Problem 401 when it is nobody who may decide."""
        operator = self.who(request)
        if operator is None:
            problem = Problem(401, "login_needed", "Decisions need the operator token.")
            problem.headers["www-authenticate"] = "Bearer"
            raise problem
        return operator

    def _from_cookie(self, cookie: str) -> Operator | None:
        body, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._sign(body).encode()):
            return None
        name, until_s = json.loads(base64.urlsafe_b64decode(body))
        return Operator(name, "console") if self._clock.now_s() < until_s else None

    def _is_token(self, token: str) -> bool:
        return hmac.compare_digest(token.strip().encode(), self._token)

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()


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
