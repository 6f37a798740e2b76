"""Xids as NVML's event set tells them, as sightings for the merger. A witness: the queue is said to
drop Xids in bursts, so the kernel's own channels go first."""

import logging
import threading

from collectors.nvml.port import GpuReader, NvmlError
from collectors.xid_desk import XidDesk
from collectors.xid_merge import XidSighting, XidWitness
from fleetmend.clock import Clock

logger = logging.getLogger(__name__)

_WAIT_S = 2.0
"""Longest wait in the driver, so that a stop is heard."""
_AGAIN_S = 30.0
"""Seconds until a driver without events is asked again: after a lost GPU or a reload."""


class NvmlXids:
    """Waits for Xids in a thread of its own: the wait is in the driver and costs nothing."""

    def __init__(
        self, reader: GpuReader, *, found: threading.Event, desk: XidDesk, clock: Clock
    ) -> None:
        """`found` is set while there are GPUs to wait for."""
        self.failing = ""
        """Why there are none; empty while they are waited for."""
        self._reader = reader
        self._found = found
        self._desk = desk
        self._clock = clock

    def run(self, stop: threading.Event) -> None:
        """Wait until `stop` is set."""
        while not stop.is_set():
            if not self._found.is_set():
                self._desk.alive(XidWitness.NVML, can_tell=False)
                self._clock.wait(self._found, _WAIT_S)
            elif not self.step(_WAIT_S):
                self._clock.wait(stop, _AGAIN_S)

    def step(self, wait_s: float) -> bool:
        """Wait once; false when the driver has no events to wait for."""
        # Before the wait: what is told while it lasts is to be waited for by the others.
        self._desk.alive(XidWitness.NVML, can_tell=not self.failing)
        try:
            told = self._reader.wait_xid(wait_s)
        except NvmlError as error:
            if not self.failing:
                logger.warning("no Xids from NVML", extra={"why": str(error)[:200]})
            self.failing = str(error)
            self._desk.alive(XidWitness.NVML, can_tell=False)
            return False
        self.failing = ""
        if told is not None:
            fields = {} if told.instance is None else {"gpu_instance": told.instance}
            line = f"NVML event: Xid {told.xid}"
            at_s = self._clock.now_s()
            self._desk.take(
                XidSighting(told.uuid, told.xid, at_s, XidWitness.NVML, line=line, fields=fields)
            )
        return True
