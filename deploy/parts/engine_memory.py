"""A memory cgroup for an engine: the limit that a pod has, and the kernel's real OOM kill.

Needs root and a memory controller (version 1 or 2); raises PartFailed with the reason elsewhere.
"""

import os
import time
from pathlib import Path

from deploy.parts.process import PartFailed

_GONE_S = 10.0


class MemoryGroup:
    """A group without a limit, until it is given one."""

    def __init__(self, top: Path = Path("/sys/fs/cgroup")) -> None:
        """`top`: where cgroups are mounted."""
        self._second = (top / "cgroup.controllers").exists()
        self.path = (top if self._second else top / "memory") / f"fleetmend-engine-{os.getpid()}"
        try:
            self.path.mkdir()
            self.used()
        except OSError as error:
            raise PartFailed(f"no memory cgroup can be made: {error}") from error

    def used(self) -> int:
        """Bytes in use, with what the kernel could give back."""
        name = "memory.current" if self._second else "memory.usage_in_bytes"
        return int((self.path / name).read_text())

    def limit(self, number: int) -> None:
        """Allow so many bytes. The kernel first gives back what it can; raises OSError (EBUSY) with
        version 1 when that is not enough."""
        name = "memory.max" if self._second else "memory.limit_in_bytes"
        (self.path / name).write_text(str(number))

    def kills(self) -> int:
        """Processes of the group that the kernel has killed for want of memory."""
        name = "memory.events" if self._second else "memory.oom_control"
        words = (self.path / name).read_text().split()
        return int(words[words.index("oom_kill") + 1])

    def close(self) -> None:
        """Remove it, as soon as its last process is gone."""
        deadline_s = time.monotonic() + _GONE_S
        while True:
            try:
                return self.path.rmdir()
            except OSError:
                if time.monotonic() > deadline_s:
                    raise
                time.sleep(0.1)
