"""What a spool keeps beside its records: that one process has it, and how far it was sent.

Called by `fleetmend.streams.spool` alone. Neither may need room on a disk that is full: the way out
of a full disk is to send what lies there and to delete it.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from fleetmend.errors import StreamError

_LOCK = "lock"
_CURSOR = "sent"


def locked(folder: Path) -> int:
    """The folder's lock file, held until it is closed or the process ends, however it ends. Raises
    StreamError when another spool has it, OSError for a folder that cannot be used."""
    file = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(file, 32, 0).decode(errors="replace").strip()
        os.close(file)
        raise StreamError(
            f"in use by process {holder or 'unknown'}",
            where=str(folder),
            fix="One spool serves one agent: stop the other, or set another agent.spool.path.",
        ) from error
    with suppress(OSError):  # a full disk: the lock holds without the name of its holder
        os.ftruncate(file, 0)
        os.write(file, f"{os.getpid()}\n".encode())
    return file


class Cursor:
    """The number up to which all was sent, overwritten in place: a new file would need room."""

    def __init__(self, folder: Path) -> None:
        """Read what is there. Raises OSError."""
        self._path = folder / _CURSOR
        try:
            text = self._path.read_text("ascii").strip()
        except (FileNotFoundError, UnicodeDecodeError):
            text = ""
        self.at = int(text) if text.isdecimal() else 0
        """The highest number that was sent."""

    def write(self) -> None:
        """Keep `at`. Raises OSError. Always as many bytes, so that none of an older one is left."""
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(file, f"{self.at:020d}\n".encode(), 0)
        finally:
            os.close(file)
