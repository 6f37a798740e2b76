"""Who reads a halt switch on this machine: so that `fleetmend halt` can say when nobody does.

A process that acts holds a shared lock beside the switch for as long as it lives, however it ends.
Held by `fleetmend up` and `demo`, asked by `fleetmend halt`.
"""

import contextlib
import fcntl
import logging
import os
from collections.abc import Iterator
from pathlib import Path

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def reading(switch: Path) -> Iterator[None]:
    """This process reads `switch` until the block ends. Where the lock cannot be made the process
    goes on: the switch is what counts, this is only the word of it."""
    descriptor = None
    try:
        switch.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(_beside(switch), os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as error:
        logger.warning(
            "the halt switch's readers cannot be noted",
            extra={"switch": str(switch), "error": str(error)},
        )
    try:
        yield
    finally:
        if descriptor is not None:
            os.close(descriptor)


def is_read(switch: Path) -> bool:
    """Whether a process on this machine reads `switch` now."""
    try:
        descriptor = os.open(_beside(switch), os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(descriptor)
    return False


def _beside(switch: Path) -> Path:
    return switch.with_name(f"{switch.name}.readers")
