"""The cache of heavy parts: `<user cache>/fleetmend/<part>/<version>/`, written once, never
touched again."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_root() -> Path:
    """The folder under which all parts are kept."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fleetmend"


def cached(part: str, version: str, build: Callable[[Path], None]) -> Path:
    """The finished folder of `part` at `version`, built by `build(folder)` when it is not there
    yet.

    The build goes into a folder beside it that is renamed at the end, so a folder that exists is
    complete; a lock keeps two builders of the same part from doing the work twice.
    """
    finished = cache_root() / part / version
    if finished.is_dir():
        return finished
    finished.parent.mkdir(parents=True, exist_ok=True)
    with (finished.parent / f"{version}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if finished.is_dir():
            return finished
        partial = Path(tempfile.mkdtemp(prefix=f"{version}.part-", dir=finished.parent))
        try:
            build(partial)
            partial.chmod(0o755)
            partial.rename(finished)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    return finished
