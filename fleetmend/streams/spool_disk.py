"""How far a spool was sent. Called by `fleetmend.streams.spool` alone.

That may not need room on a disk that is full: the way out of a full disk is to send what lies there
and to delete it.
"""

import os
from pathlib import Path

_CURSOR = "sent"


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
