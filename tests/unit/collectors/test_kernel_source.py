"""A kernel log that nobody may read is told of in the agent's own log too."""

import threading
from pathlib import Path

import pytest

from collectors.kernel_source import KernelSource
from collectors.xid_desk import XidDesk
from fleetmend.clock import ManualClock
from fleetmend.settings.collectors import KernelLogSettings
from tests.unit.collectors.fakes import ListSink


class Waits(ManualClock):
    """Stops at the third wait."""

    waits = 0

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        self.waits += 1
        if self.waits == 3:
            event.set()
        return event.is_set()


def test_a_kernel_log_that_is_not_there_is_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock, sink = Waits(1000.0), ListSink()
    desk = XidDesk(cluster="c", node="n", hold_s=0.1, per_minute_max=9, sink=sink, clock=clock)
    path = tmp_path / "kmsg"
    KernelSource(
        KernelLogSettings(node="n", path=str(path)),
        cluster="c",
        sink=sink,
        desk=desk,
        clock=clock,
        per_minute_max=9,
    ).run(threading.Event())

    [line] = caplog.records
    assert str(path) in vars(line)["why"]
    assert (clock.waits, len(sink.events)) == (3, 1)
