"""Whether the files that this process has open are still those that lie on the disk.

SQLite goes on writing into a file that was deleted or replaced under it, and nobody would find what
it writes. Made by `fleetmend up` and `demo` when log and store are open; asked by readiness.
"""

from collections.abc import Iterable
from pathlib import Path

from fleetmend.settings import Settings

SQLITE_URL = "sqlite:///"


class OpenFiles:
    """The identity of each file when this was made."""

    def __init__(self, paths: Iterable[Path]) -> None:
        """The files must be there already; those that are not are not watched."""
        self._known = {path: found for path in paths if (found := _identity(path)) is not None}

    def unready(self) -> list[str]:
        """Which of them were deleted or replaced, in words."""
        said = []
        for path, before in self._known.items():
            now = _identity(path)
            if now != before:
                what = "deleted" if now is None else "replaced"
                said.append(f"{path} was {what} while it was open; restart")
        return said


def files_of(settings: Settings) -> list[Path]:
    """The files of the embedded log and of a store in SQLite, where there are such."""
    found = []
    if settings.streams.engine == "embedded" and settings.streams.path != ":memory:":
        found.append(Path(settings.streams.path))
    if settings.store.url.startswith(SQLITE_URL):
        found.append(Path(settings.store.url.removeprefix(SQLITE_URL)))
    return found


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
