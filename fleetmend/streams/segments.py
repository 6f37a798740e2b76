"""Append-only segment files: records with a number, on disk, that survive being killed at any byte.

`fleetmend.streams.spool` keeps two chains of them in one folder. A record is

    length of the body, CRC-32 of number and body, number (little endian: u32 u32 u64) | body

and a file is named for its chain and the number of its first record. A process that is killed may
leave part of a record at the end of the newest file: it is cut off when the chain is opened. Bytes
that do not fit elsewhere (a bad disk) end their file: what follows them in it is counted as lost.
"""

import os
import struct
import zlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_HEADER = struct.Struct("<IIQ")
_BODY_BYTES_MAX = 16 * 1024 * 1024
"""More than any record of the log: a length beyond is no length."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One record as it lies in a chain."""

    number: int
    body: bytes
    chain: str
    """Name of the chain that it lies in."""


@dataclass(frozen=True, slots=True)
class Amount:
    """Records, and the bytes of their bodies."""

    records: int = 0
    size: int = 0

    @classmethod
    def of(cls, *bodies: bytes) -> Self:
        """These records."""
        return cls(len(bodies), sum(map(len, bodies)))

    def __add__(self, other: Self) -> "Amount":
        return Amount(self.records + other.records, self.size + other.size)

    def __sub__(self, other: Self) -> "Amount":
        return Amount(self.records - other.records, self.size - other.size)


@dataclass(slots=True)
class _Segment:
    path: Path
    first: int
    size: int
    records: int
    last: int
    """Number of its last record; `first` - 1 when it holds none."""


def _checksum(number: int, body: bytes) -> int:
    return zlib.crc32(body, number & 0xFFFFFFFF)


def _scan(path: Path) -> Iterator[tuple[int, int, bytes]]:
    """(end, number, body) of each whole record of a file, up to the first that is not."""
    with path.open("rb") as file:
        end = 0
        while len(header := file.read(_HEADER.size)) == _HEADER.size:
            length, checksum, number = _HEADER.unpack(header)
            if length > _BODY_BYTES_MAX:
                return
            body = file.read(length)
            if len(body) < length or _checksum(number, body) != checksum:
                return
            end += _HEADER.size + length
            yield end, number, body


class Chain:
    """The segment files of one kind of record. Errors of the disk are OSError. One thread at a
    time."""

    def __init__(self, folder: Path, name: str, *, segment_bytes: int, sent: int = 0) -> None:
        """Open what is there, and cut off what was not written to its end. `sent`: the highest
        number that has been sent."""
        self.torn_bytes = 0
        """Bytes that were cut off or could not be read."""
        self.found = Amount()
        """What lay there above `sent` when it was opened."""
        self._folder = folder
        self.name = name
        self.dropped_to = 0
        """The highest number of what was dropped for room."""
        self._segment_bytes = segment_bytes
        self._segments: deque[_Segment] = deque()
        self._file: int | None = None
        self._ahead: deque[Stored] = deque()
        """Records that were read and are not known to be sent."""
        self._taken = 0
        """The highest number that was read."""
        self._read_at: tuple[Path | None, int] = (None, 0)
        for path in sorted(folder.glob(f"{name}-*.seg")):
            self._open(path, sent)
        self.last = max((segment.last for segment in self._segments), default=0)
        """The highest number ever stored in what is left."""

    def _open(self, path: Path, sent: int) -> None:
        end = records = first = last = 0
        for whole, number, body in _scan(path):
            self.found += Amount.of(body) if number > sent else Amount()
            first = number if records == 0 else first
            end, last, records = whole, number, records + 1
        size = path.stat().st_size
        if size > end:
            self.torn_bytes += size - end
            os.truncate(path, end)
        if records:
            self._segments.append(_Segment(path, first, end, records, last))
        else:
            path.unlink()

    @property
    def size_bytes(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, number: int, body: bytes) -> None:
        """Store a record; what was given before stays before it. Raises OSError; a record that was
        stored in part is taken back."""
        full = self._segments and self._segments[-1].size >= self._segment_bytes
        if self._file is None or full:
            self._begin(number)
        segment, file = self._segments[-1], self._opened()
        data = _HEADER.pack(len(body), _checksum(number, body), number) + body
        try:
            written = os.write(file, data)
            while written < len(data):
                written += os.write(file, data[written:])
        except OSError:
            os.ftruncate(file, segment.size)
            raise
        segment.size += len(data)
        segment.records += 1
        segment.last = self.last = number

    def _begin(self, number: int) -> None:
        """A new file. The one before it is given to the disk for good."""
        self._end_file()
        path = self._folder / f"{self.name}-{number:020d}.seg"
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_EXCL, 0o600)
        self._segments.append(_Segment(path, number, 0, 0, number - 1))

    def _opened(self) -> int:
        """The file that is written to. Raises OSError when there is none."""
        if self._file is None:
            raise OSError("no segment is open")
        return self._file

    def sync(self) -> None:
        """Give what was appended to the disk for good."""
        if self._file is not None:
            os.fdatasync(self._file)

    def waiting(self, sent: int, *, records: int, size: int) -> tuple[list[Stored], bool]:
        """The first records above `sent`, up to so many and about so many bytes, and whether these
        are all that there are."""
        while self._ahead and self._ahead[0].number <= sent:
            self._ahead.popleft()
        found: list[Stored] = []
        total = 0
        while len(found) < records and total < size:
            if len(found) == len(self._ahead) and not self._fetch(sent):
                return found, True
            found.append(self._ahead[len(found)])
            total += len(found[-1].body)
        return found, False

    def _fetch(self, sent: int) -> bool:
        """Read on from where reading ended; false when there is nothing more."""
        for segment in self._segments:
            if segment.last > max(sent, self._taken) and self._read(segment, sent):
                return True
        return False

    def _read(self, segment: _Segment, sent: int) -> bool:
        """Take in what was appended to a file since it was last read."""
        start = self._read_at[1] if self._read_at[0] == segment.path else 0
        with segment.path.open("rb") as file:
            file.seek(start)
            data = file.read(segment.size - start)
        at, before = 0, len(self._ahead)
        while at + _HEADER.size <= len(data):
            length, checksum, number = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + _HEADER.size + length]
            if len(body) < length or _checksum(number, body) != checksum:
                break
            if number > max(sent, self._taken):
                self._ahead.append(Stored(number, body, self.name))
                self._taken = number
            at += _HEADER.size + length
        if at < len(data):  # a bad disk: nothing behind it can be trusted to begin anywhere
            self.torn_bytes += len(data) - at
            self._taken = max(self._taken, segment.last)
        self._read_at = (segment.path, segment.size)
        return len(self._ahead) > before

    def forget(self, number: int) -> None:
        """Delete the files that hold nothing above `number`. The newest stays while it is being
        written."""
        while self._segments and self._segments[0].last <= number:
            if len(self._segments) == 1:
                if self._segments[0].size < self._segment_bytes and self._file is not None:
                    return
                self._end_file()
            self._segments.popleft().path.unlink()

    def drop_oldest(self, sent: int) -> Amount:
        """Delete the oldest file; what above `sent` was in it."""
        if len(self._segments) == 1:
            self._end_file()
        segment = self._segments.popleft()
        dropped = Amount()
        for _, number, body in _scan(segment.path):
            dropped += Amount.of(body) if number > sent else Amount()
        self.dropped_to = max(self.dropped_to, segment.last)
        self._ahead = deque(stored for stored in self._ahead if stored.number > segment.last)
        segment.path.unlink()
        return dropped

    def take_back(self, after: int) -> Amount:
        """Undo what was appended above number `after` and has not been read; what that was. Raises
        OSError."""
        taken = Amount()
        while self._segments and self._segments[-1].last > after:
            segment = self._segments[-1]
            end = records = last = 0
            for whole, number, body in _scan(segment.path):
                if number > after:
                    taken += Amount.of(body)
                else:
                    end, records, last = whole, records + 1, number
            self._end_file()
            if records:
                os.truncate(segment.path, end)
                segment.size, segment.records, segment.last = end, records, last
            else:
                self._segments.pop().path.unlink()
        return taken

    def close(self) -> None:
        """Give everything to the disk and let go of the file."""
        self._end_file()

    def _end_file(self) -> None:
        if self._file is not None:
            os.fdatasync(self._file)
            os.close(self._file)
            self._file = None
