"""The ring buffer's own thread: it sleeps in the kernel until something happens there.

What the driver reports goes on at once, since others tell of the same Xid and wait for each other;
the rest is kept until `collectors.ebpf.collector`, which owns one, reads its counts.
"""

import logging
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Protocol

from collectors.ebpf.layout import SXID, XID, Record
from collectors.ebpf.libbpf import BpfError
from fleetmend.errors import FleetError

logger = logging.getLogger(__name__)

_KEPT_MAX = 4096
"""Records kept between two readings; the oldest go first. A node ends some tens of processes a
second."""


class Ring(Protocol):
    """The ring buffer, as far as it is listened to."""

    @property
    def fd(self) -> int:
        """Readable while there are records."""
        ...

    def take(self) -> list[Record]:
        """What came since this was last asked. Raises BpfError when the ring cannot be read."""
        ...


class Listener:
    """Takes records out of the ring as they come."""

    def __init__(self, ring: Ring, *, report: Callable[[Record], None]) -> None:
        """`report` is called for what the driver's tracepoints tell, in this or the reading
        thread."""
        self.dropped = 0
        """Records given up, because nobody took them."""
        self._ring = ring
        self._report = report
        self._lock = threading.Lock()
        self._kept: deque[Record] = deque()
        self._failed: BpfError | None = None
        self._wake = os.eventfd(0, os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="ebpf-ring", daemon=True)
        self._thread.start()

    def take(self) -> list[Record]:
        """What was kept, and what lies in the ring now. Raises BpfError when it cannot be read."""
        self._drain()
        with self._lock:
            if self._failed is not None:
                raise self._failed
            kept, self._kept = list(self._kept), deque()
        return kept

    def close(self) -> None:
        """End the thread; the ring stays."""
        os.eventfd_write(self._wake, 1)
        self._thread.join()
        os.close(self._wake)

    def _run(self) -> None:
        waiting = select.poll()
        waiting.register(self._ring.fd, select.POLLIN)
        waiting.register(self._wake, select.POLLIN)
        while self._failed is None:
            if self._wake in dict(waiting.poll()):
                return
            try:
                self._drain()
            except BpfError as error:
                self._failed = error  # told by the next reading, which knows what to do about it

    def _drain(self) -> None:
        with self._lock:
            taken = self._ring.take()
            self._kept.extend(record for record in taken if record.kind not in (XID, SXID))
            while len(self._kept) > _KEPT_MAX:
                self._kept.popleft()
                self.dropped += 1
        for record in taken:
            if record.kind in (XID, SXID):
                self._hand_on(record)

    def _hand_on(self, record: Record) -> None:
        try:
            self._report(record)
        except FleetError as error:  # the sink keeps what it was given and tries again
            logger.warning("report not sent yet", extra={"error": str(error)[:200]})
