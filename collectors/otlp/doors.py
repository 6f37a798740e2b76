"""What the doors have in common: who knocks, how large a message may grow, why one is refused."""

import hmac
import zlib
from enum import StrEnum
from pathlib import Path

from fleetmend.errors import FleetError, SettingsError
from fleetmend.settings.otlp import OtlpSettings

_CHUNK = 65_536


class Reason(StrEnum):
    """Why a request is refused: counted under this name."""

    UNAUTHENTICATED = "unauthenticated"
    OVERSIZE = "oversize"
    UNREADABLE = "unreadable"
    ENCODING = "encoding"
    CONTENT_TYPE = "content_type"
    BUSY = "busy"
    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    """The broker that messages are read from."""


class Refused(FleetError):
    """A request that is not taken."""

    def __init__(self, reason: Reason, what: str = "") -> None:
        super().__init__(what or reason.value)
        self.reason = reason


class Senders:
    """Names of senders by their tokens."""

    def __init__(self, settings: OtlpSettings) -> None:
        """Raises SettingsError when a token file cannot be read or holds too short a token."""
        self._tokens: dict[str, bytes] = {}
        self._open = ""
        for sender in settings.senders:
            if sender.token_file:
                self._tokens[sender.name] = _token(sender.token_file)
            elif sender.name != settings.kafka_sender:
                self._open = sender.name

    def name(self, authorization: str) -> str:
        """Whose `Authorization` this is. Raises Refused."""
        if not authorization and self._open:
            return self._open
        scheme, _, shown = authorization.partition(" ")
        found = ""
        # Every token is compared, so that the time tells nothing.
        for name, token in self._tokens.items():
            if hmac.compare_digest(shown.strip().encode(errors="replace"), token):
                found = name
        if scheme.lower() != "bearer" or not found:
            raise Refused(Reason.UNAUTHENTICATED, "no valid bearer token")
        return found


def _token(path: str) -> bytes:
    try:
        token = Path(path).read_text().split("\n", 1)[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(error), where="collectors.otlp.senders.token_file") from error
    if len(token) < 16:
        raise SettingsError(
            f"the token in {path} is shorter than 16 characters",
            where="collectors.otlp.senders.token_file",
        )
    return token.encode()


def inflated(body: bytes, encoding: str, *, bytes_max: int) -> bytes:
    """The body as it was before `Content-Encoding`. Raises Refused: never holds more than
    `bytes_max` and a chunk."""
    if encoding in ("", "identity"):
        return body
    if encoding != "gzip":
        raise Refused(Reason.ENCODING, f"content encoding {encoding[:20]!r}")
    unpack = zlib.decompressobj(wbits=31)
    parts: list[bytes] = []
    size, rest = 0, body
    try:
        while rest and not unpack.eof:
            parts.append(unpack.decompress(rest, _CHUNK))
            size += len(parts[-1])
            if size > bytes_max:
                raise Refused(Reason.OVERSIZE)
            rest = unpack.unconsumed_tail
    except zlib.error as error:
        raise Refused(Reason.UNREADABLE, "not gzip") from error
    if not unpack.eof:
        raise Refused(Reason.UNREADABLE, "gzip is cut off")
    return b"".join(parts)
