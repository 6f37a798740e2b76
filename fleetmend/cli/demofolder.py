"""The folder of a demonstration: begun anew only where nobody else's files can be lost.

A marker file says that a demonstration made the folder, and its lock that one is running in it.
Called by `fleetmend demo`, once settings, runbooks and port have been found good.
"""

import fcntl
import os
from pathlib import Path

from fleetmend.errors import SettingsError

MARKER = "fleetmend-demo"
"""Name of the file that a demonstration leaves in its folder; without it nothing is removed."""
OWN = ("log.db*", "store.db*", "halt.json*")
"""What a demonstration writes there."""

_ELSEWHERE = "Name another folder: --data DIR."


def begin_anew(folder: Path) -> int:
    """Forget the last demonstration in `folder`: its own files, nothing else. The folder is new,
    empty, or carries the marker of a demonstration. The answer is the descriptor that holds the
    folder until this process ends. Raises SettingsError, with nothing removed, for a folder of
    somebody else or one in use."""
    _refuse_foreign(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = os.open(folder / MARKER, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise SettingsError(f"cannot be used: {error.strerror}", where=str(folder)) from error
    try:
        _hold(held, folder)
        _refuse_running(folder)
        os.ftruncate(held, 0)
        os.pwrite(held, f"{os.getpid()}\n".encode(), 0)
        for pattern in OWN:
            for path in folder.glob(pattern):
                path.unlink()
    except BaseException:
        os.close(held)
        raise
    return held


def _refuse_foreign(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise SettingsError("is not a folder", where=str(folder), fix=_ELSEWHERE)
    if any(folder.iterdir()) and not (folder / MARKER).is_file():
        raise SettingsError(
            "holds files and was not made by a demonstration, which would remove its log, its "
            "store and its halt switch",
            where=str(folder),
            fix=_ELSEWHERE,
        )


def _refuse_running(folder: Path) -> None:
    """The embedded log's own lock: a platform may use the folder without being a demonstration."""
    lock = folder / "log.db.lock"
    if not lock.exists():
        return
    descriptor = os.open(lock, os.O_RDONLY | os.O_CLOEXEC)
    try:
        _hold(descriptor, folder)
    finally:
        os.close(descriptor)


def _hold(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
        raise SettingsError(
            f"in use by process {holder}", where=str(folder), fix=_ELSEWHERE
        ) from error
