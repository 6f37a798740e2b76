"""Following a growing log: a file through rotation and truncation, or the kernel's own device.

Called by `collectors.kmsg`. A poll never waits and never reads more than its bound; `wait` waits
until the kernel says that there is more, where it does.
"""

import os
import select
import stat
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from fleetmend.errors import BadInput

READ_MAX = 1_048_576
"""Bytes of one poll. A log that grows faster is read with delay, not with more memory."""
_LINE_MAX = 65_536
"""Bytes of a line without an end that are kept; a longer line is cut there."""
_RECORD_MAX = 8192
"""A read of /dev/kmsg gives one record, and fails when the buffer is smaller (kernel: 8 KiB)."""
_OVERRUNS_MAX = 100
"""Reads of one poll that the kernel may answer with EPIPE."""


class Tail(Protocol):
    """A source of whole lines."""

    def poll(self) -> list[str]:
        """The lines that came since the last poll. Raises BadInput when it cannot be read."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is more or the time has passed. False, at once, for a log that tells
        nobody when it grows."""
        ...

    def close(self) -> None:
        """Let go of the file."""
        ...


def open_tail(path: Path, *, from_start: bool) -> Tail:
    """The right way to follow `path`; `from_start`: also what is there already."""
    try:
        device = stat.S_ISCHR(path.stat().st_mode)
    except OSError:
        device = False  # it may come later
    return (
        KmsgTail(path, from_start=from_start) if device else FileTail(path, from_start=from_start)
    )


def held_lines(path: Path) -> list[str]:
    """The whole lines that a log holds already: the newest mebibyte of a file, all of a device;
    none when there is no such log. Raises BadInput when it cannot be read."""
    try:
        if not stat.S_ISCHR(path.stat().st_mode):
            return _newest_lines(path)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from error
    device = KmsgTail(path, from_start=True)
    lines: list[str] = []
    while records := device.poll():
        lines += records
    device.close()
    return lines


def _regular(path: Path) -> int | None:
    """A descriptor of a plain file; None when there is none. Raises BadInput for anything else:
    whoever writes a log may put a pipe there, which blocks, or a link to a device, which may act
    when it is opened. So what it is is asked before it is opened."""
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from error
    try:
        if not stat.S_ISREG(os.fstat(place).st_mode):
            raise BadInput("this is no plain file", where=str(path))
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=str(path)) from error
    finally:
        os.close(place)


def _newest_lines(path: Path) -> list[str]:
    descriptor = _regular(path)
    if descriptor is None:
        return []
    with os.fdopen(descriptor, "rb") as file:
        start = max(0, os.fstat(file.fileno()).st_size - READ_MAX)
        file.seek(start)
        lines = file.read(READ_MAX).split(b"\n")
    # The last has no end yet, and the first may have lost its beginning.
    return [line.decode("utf-8", "replace") for line in lines[1 if start else 0 : -1]]


class FileTail:
    """A file that is appended to; it may be missing, replaced (rotation) or cut short."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path = path
        self._descriptor: int | None = None
        self._inode = (0, 0)
        self._offset = 0
        self._rest = b""
        with suppress(BadInput):  # who follows it hears of it at the first poll
            self._open(skip=not from_start)

    def poll(self) -> list[str]:
        """The lines that are complete; a cut file is read from its new start."""
        if self._descriptor is None and not self._open(skip=False):
            return []
        lines = self._read()
        if not lines and self._replaced():
            # The old file was read to its end: its last line has no end, and will get none.
            if self._rest:
                lines.append(self._rest.decode("utf-8", "replace"))
            self.close()
            if self._open(skip=False):
                lines += self._read()
        return lines

    def wait(self, timeout_s: float) -> bool:
        """A file does not say when it grows, and may be replaced."""
        return False

    def close(self) -> None:
        """Let go of the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._rest = None, b""

    def _open(self, *, skip: bool) -> bool:
        self._descriptor = _regular(self._path)
        if self._descriptor is None:
            return False
        status = os.fstat(self._descriptor)
        self._inode = (status.st_dev, status.st_ino)
        self._offset = status.st_size if skip else 0
        return True

    def _replaced(self) -> bool:
        try:
            status = self._path.stat()
        except OSError:
            return False  # taken away and not yet replaced
        return (status.st_dev, status.st_ino) != self._inode

    def _read(self) -> list[str]:
        if self._descriptor is None:
            return []
        try:
            if os.fstat(self._descriptor).st_size < self._offset:  # cut short in place
                self._offset, self._rest = 0, b""
            data = os.pread(self._descriptor, READ_MAX, self._offset)
        except OSError as error:
            raise BadInput(error.strerror or str(error), where=str(self._path)) from error
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LINE_MAX:
            lines, self._rest = [*lines, self._rest[:_LINE_MAX]], b""
        return [line.decode("utf-8", "replace") for line in lines]


class KmsgTail:
    """The kernel log device, or what stands in for it: one record a read."""

    def __init__(self, path: Path, *, from_start: bool) -> None:
        self._path = path
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
            if not from_start:
                os.lseek(self._descriptor, 0, os.SEEK_END)
        except OSError as error:
            raise BadInput(error.strerror or str(error), where=str(path)) from error
        self.overwritten = 0
        """Records that the kernel overwrote before they were read."""
        self._sequence: int | None = None
        """Number of the last record."""
        self._ended = False
        """Whether the last read found an end: a stand-in whose writer is gone, which would be
        readable for ever."""
        self._more = select.poll()
        self._more.register(self._descriptor, select.POLLIN)

    def poll(self) -> list[str]:
        """The records that came since the last poll."""
        records: list[str] = []
        size = overruns = 0
        # In a flood every read may come too late: then the rest waits for the next poll.
        while size < READ_MAX and overruns < _OVERRUNS_MAX:
            try:
                record = os.read(self._descriptor, _RECORD_MAX)
            except BlockingIOError:
                break
            except BrokenPipeError:  # the next read goes on with the oldest that is left
                overruns += 1
                continue
            except OSError as error:
                raise BadInput(error.strerror or str(error), where=str(self._path)) from error
            self._ended = not record
            if self._ended:
                break
            size += len(record)
            self._count(record)
            records.append(record.decode("utf-8", "replace").rstrip("\n"))
        return records

    def _count(self, record: bytes) -> None:
        """Notice numbers that are missing."""
        number = record.split(b",", 2)[1:2]
        if not number or not number[0].isdigit():
            return
        sequence = int(number[0])
        if self._sequence is not None:
            self.overwritten += max(sequence - self._sequence - 1, 0)
        self._sequence = sequence

    def wait(self, timeout_s: float) -> bool:
        """The kernel wakes who waits for its log."""
        if self._ended:
            return False
        self._more.poll(timeout_s * 1000)
        return True

    def close(self) -> None:
        """Let go of the device."""
        os.close(self._descriptor)
