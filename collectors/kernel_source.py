"""The kernel log of the node that the agent runs on: a log that cannot be read is a fact that is
told, and tried again. `fleetmend agent` runs one; its Xids go to the desk."""

import logging
import os
import threading

from collectors.kmsg import kernel_log, this_boot
from collectors.sink import Sink
from collectors.xid_desk import KernelDoor, XidDesk
from collectors.xid_merge import XidWitness
from fleetmend.clock import Clock
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event, EventType, event_id
from fleetmend.settings.collectors import KernelLogSettings

logger = logging.getLogger(__name__)

_AGAIN_S = 60.0
"""Seconds until a log that could not be read is tried again."""
_TEXT_MAX = 200


class KernelSource:
    """One node's kernel log."""

    def __init__(
        self,
        settings: KernelLogSettings,
        *,
        cluster: str,
        sink: Sink,
        desk: XidDesk,
        clock: Clock,
        per_minute_max: int,
    ) -> None:
        self._settings = settings
        self._cluster = cluster
        self._sink = sink
        self._desk = desk
        self._clock = clock
        self._per_minute_max = per_minute_max
        self._failing = ""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set. Raises StreamError when the sink does."""
        while not stop.is_set():
            try:
                _readable(self._settings.path)
                follow = kernel_log(
                    self._settings,
                    cluster=self._cluster,
                    sink=KernelDoor(self._sink, self._desk),
                    clock=self._clock,
                    resolve=self._desk.resolve,
                    boot=this_boot(self._clock),
                    per_minute_max=self._per_minute_max,
                    may_be_named=lambda: not self._desk.learnt,
                )
                self._tell("")
                self._hears(True)
                follow.run(stop)
            except BadInput as error:
                self._tell(str(error))
                self._clock.wait(stop, _AGAIN_S)
            finally:
                self._hears(False)

    def _hears(self, can_tell: bool) -> None:
        for kind in (EventType.XID, EventType.SXID):
            self._desk.alive(XidWitness.KERNEL_LOG, kind, can_tell=can_tell)

    def _tell(self, failing: str) -> None:
        """An event when the log has become readable or unreadable."""
        if failing == self._failing:
            return
        self._failing = failing
        if failing:
            logger.warning("the kernel log cannot be read", extra={"why": failing[:_TEXT_MAX]})
        node, at_s = self._settings.node, self._clock.now_s()
        source, outcome = f"collector/kmsg-{node}", "unreadable" if failing else "ok"
        self._sink.event(
            Event(
                id=event_id(source, outcome, repr(at_s)),
                source=source,
                type=EventType.SCRAPE,
                time_s=at_s,
                subject=entity_id(self._cluster, EntityKind.NODE, node),
                node=node,
                data={
                    "target": self._settings.path,
                    "kind": "kernel_log",
                    "outcome": outcome,
                    "reason": failing[:_TEXT_MAX],
                },
            )
        )


def _readable(path: str) -> None:
    """Raises BadInput for a log that is not there or not ours to read: the follower waits for a
    file that may still be made, and would say nothing."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
    except OSError as error:
        raise BadInput(error.strerror or str(error), where=path) from error
