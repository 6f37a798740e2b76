"""One HTTP/1.1 answer, read piece by piece as it comes: `collectors.connections` feeds it.

A target is not trusted: head, body, trailer and the number of chunks are bounded, and whatever is
not plainly HTTP ends the reading. Only an answer that ended where it said leaves its connection fit
for another request.
"""

import re
from enum import Enum, auto

from collectors.fetch import Outcome, Refusal

_HEAD_BYTES_MAX = 32_768
"""Bytes of a head or a trailer: servers allow 8 to 16 KiB themselves."""
_CHUNKS_MAX = 8_192
"""Chunks of one body: servers send some KiB at a time, and each chunk costs the loop a
microsecond."""
_SIZE_LINE_MAX = 1_024
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: [^\r\n]*)?")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([^\r\n]*)")
_HEX = re.compile(rb"[0-9a-fA-F]{1,8}")
_DIGITS = re.compile(rb"[0-9]{1,15}")
_END = b"\r\n\r\n"
_OK = 200
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class _At(Enum):
    HEAD = auto()
    LENGTH = auto()
    """A body of a known length."""
    REST = auto()
    """A body that ends with the connection."""
    CHUNK_SIZE = auto()
    CHUNK = auto()
    CHUNK_END = auto()
    TRAILER = auto()
    DONE = auto()


class Answer:
    """One answer."""

    __slots__ = ("_at", "_body", "_chunks", "_left", "_max", "_raw", "packed", "reusable", "status")

    def __init__(self, *, body_bytes_max: int) -> None:
        """`body_bytes_max`: most bytes of the body as it comes over the wire."""
        self.status = 0
        """0 until the head has come."""
        self.packed = False
        """Whether the body is gzip."""
        self.reusable = False
        """Whether the connection may carry another request."""
        self._max = body_bytes_max
        self._at = _At.HEAD
        self._raw = bytearray()
        """What has come and not been read yet; of a body of known length nothing."""
        self._body = bytearray()
        self._left = 0
        """Bytes of the body, or of this chunk, that are to come."""
        self._chunks = 0

    @property
    def held(self) -> int:
        """Bytes that it keeps."""
        return len(self._raw) + len(self._body)

    @property
    def body(self) -> bytes:
        """The body, when it is there."""
        return bytes(self._body)

    def feed(self, data: bytes | memoryview) -> bool:
        """Take what came; true when the answer is there. Raises Refusal."""
        if self._at is _At.LENGTH:  # most of a page comes this way
            return self._more(data)
        self._raw += data
        if self._at is _At.HEAD and not self._head():
            return False
        return self._body_begun()

    def end(self) -> bool:
        """The connection has ended; true when the answer is there all the same."""
        return self._at is _At.REST

    def _body_begun(self) -> bool:
        """What has come after the head, when the body's form is known."""
        if self._at is _At.LENGTH:
            rest, self._raw = self._raw, bytearray()
            return self._more(rest)
        if self._at is _At.REST:
            self._body += self._raw
            self._raw.clear()
            self._within(len(self._body))
            return False
        return self._in_chunks()

    def _more(self, data: bytes | bytearray | memoryview) -> bool:
        if len(data) > self._left:
            data, self.reusable = data[: self._left], False  # it speaks unasked
        self._body += data
        self._left -= len(data)
        return self._left == 0

    def _head(self) -> bool:
        """Read the head; false when it has not come whole."""
        while True:
            end = self._raw.find(_END)
            if end > _HEAD_BYTES_MAX or (end < 0 and len(self._raw) > _HEAD_BYTES_MAX):
                raise Refusal(Outcome.OVERSIZE)
            if end < 0:
                # Who does not speak HTTP is told apart from who is slow.
                if not _may_begin_http(bytes(self._raw[:7])):
                    raise Refusal(Outcome.PROTOCOL)
                return False
            lines = bytes(self._raw[:end]).split(b"\r\n")
            del self._raw[: end + len(_END)]
            first = _STATUS_LINE.fullmatch(lines[0])
            if first is None:
                raise Refusal(Outcome.PROTOCOL)
            self.status = int(first[2])
            if self.status >= _OK:  # what comes before is only a greeting
                self._headers(lines[1:], newer=first[1] == b"1")
                return True

    def _headers(self, lines: list[bytes], *, newer: bool) -> None:
        said: dict[bytes, list[bytes]] = {}
        for line in lines:
            match = _HEADER.fullmatch(line)
            if match is None:
                raise Refusal(Outcome.PROTOCOL)
            said.setdefault(match[1].lower(), []).append(match[2].strip().lower())
        if self.status in _REDIRECTS:
            raise Refusal(Outcome.REDIRECT)
        if self.status != _OK:
            raise Refusal(Outcome.STATUS)
        coding = b",".join(said.get(b"content-encoding", []))
        if coding not in (b"", b"identity", b"gzip", b"x-gzip"):
            raise Refusal(Outcome.UNREADABLE)  # nobody asked for that
        self.packed = coding.endswith(b"gzip")
        connection = b",".join(said.get(b"connection", []))
        self.reusable = b"close" not in connection and (newer or b"keep-alive" in connection)
        transfer = b",".join(said.get(b"transfer-encoding", []))
        lengths = set(said.get(b"content-length", []))
        if transfer:
            if transfer != b"chunked" or lengths:
                raise Refusal(Outcome.PROTOCOL)
            self._at = _At.CHUNK_SIZE
        elif lengths:
            length = lengths.pop()
            if lengths or not _DIGITS.fullmatch(length):
                raise Refusal(Outcome.PROTOCOL)
            self._left = int(length)
            self._within(self._left)
            self._at = _At.LENGTH
        else:
            self._at, self.reusable = _At.REST, False

    def _in_chunks(self) -> bool:
        raw, at = self._raw, 0
        while True:
            if self._at is _At.CHUNK_SIZE:
                end = raw.find(b"\r\n", at, at + _SIZE_LINE_MAX)
                if end < 0:
                    if len(raw) - at >= _SIZE_LINE_MAX:
                        raise Refusal(Outcome.PROTOCOL)
                    break
                self._left = _chunk_size(bytes(raw[at:end]))
                self._count()
                self._within(len(self._body) + self._left)
                at, self._at = end + 2, _At.CHUNK if self._left else _At.TRAILER
            elif self._at is _At.CHUNK:
                piece = raw[at : at + self._left]
                self._body += piece
                at, self._left = at + len(piece), self._left - len(piece)
                if self._left:
                    break
                self._at = _At.CHUNK_END
            elif self._at is _At.CHUNK_END:
                if len(raw) - at < 2:
                    break
                if raw[at : at + 2] != b"\r\n":
                    raise Refusal(Outcome.PROTOCOL)
                at, self._at = at + 2, _At.CHUNK_SIZE
            elif self._at is _At.TRAILER:
                end = raw.find(b"\r\n", at)
                if end < 0:
                    if len(raw) - at > _HEAD_BYTES_MAX:
                        raise Refusal(Outcome.OVERSIZE)
                    break
                self._count()  # its lines are bounded like chunks
                if end == at:
                    self._at = _At.DONE
                at = end + 2
            else:
                self.reusable = self.reusable and at == len(raw)
                return True
        del raw[:at]
        return False

    def _count(self) -> None:
        self._chunks += 1
        if self._chunks > _CHUNKS_MAX:
            raise Refusal(Outcome.OVERSIZE)

    def _within(self, size: int) -> None:
        if size > self._max:
            raise Refusal(Outcome.OVERSIZE)


def _may_begin_http(begin: bytes) -> bool:
    return b"HTTP/1."[: len(begin)] == begin


def _chunk_size(line: bytes) -> int:
    size = line.partition(b";")[0].strip()
    if not _HEX.fullmatch(size):
        raise Refusal(Outcome.PROTOCOL)
    return int(size, 16)
