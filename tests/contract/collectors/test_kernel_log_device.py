"""The real /dev/kmsg: a kernel witness rests on it that user space cannot speak as the kernel."""

import os
import threading
import uuid
from pathlib import Path

import pytest

from collectors.kmsg import kernel_log, this_boot
from collectors.tail import KmsgTail
from fleetmend.clock import SystemClock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import EventType
from fleetmend.settings.collectors import KernelLogSettings
from tests.unit.collectors.fakes import ListSink

DEVICE = Path("/dev/kmsg")


@pytest.mark.parametrize("priority", [4, 12])
def test_what_user_space_writes_is_an_applications_word_whatever_it_claims(priority: int) -> None:
    """Priority 4 claims facility kern, 12 facility user; the kernel makes both user."""
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip("the kernel log may not be written here")
    sink, clock = ListSink(), SystemClock()
    follower = kernel_log(
        KernelLogSettings(node="n"),
        cluster="c",
        sink=sink,
        clock=clock,
        resolve=lambda _: entity_id("c", EntityKind.GPU, "GPU-1"),
        boot=this_boot(clock),
        per_minute_max=1000,
    )
    token = uuid.uuid4().hex
    line = f"<{priority}>NVRM: Xid (PCI:0000:00:06): 31, a test of fleetmend {token}\n"
    DEVICE.write_text(line)
    follower.poll()
    told = [e for e in sink.events if e.type is EventType.XID and token in str(e.data["line"])]
    assert [(e.data["witness"], e.data["xid"]) for e in told] == [("application_log", 31)]
    assert told[0].time_s == pytest.approx(clock.now_s(), abs=60)


def test_the_kernel_wakes_who_waits_for_its_log() -> None:
    if not os.access(DEVICE, os.R_OK | os.W_OK):
        pytest.skip("the kernel log may not be written here")
    tail, token = KmsgTail(DEVICE, from_start=False), uuid.uuid4().hex
    told: list[str] = []
    found = threading.Event()

    def read() -> None:
        while token not in "".join(told):
            assert tail.wait(60.0)
            told.extend(tail.poll())
        found.set()

    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    DEVICE.write_text(f"<12>a test of fleetmend {token}\n")

    assert found.wait(20.0)
    reading.join()
    tail.close()
