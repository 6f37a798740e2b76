"""The reader of the kernel log must take any record: never raise, never be fooled about who wrote
it, never give more than it was given, nor a time that has not come."""

from collectors.kmsg import Boot, kernel_log
from collectors.signatures import LINE_MAX
from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import EventType, Witness
from fleetmend.settings.collectors import KernelLogSettings
from tests.unit.collectors.fakes import ListSink

NOW_S = 1_000.0
_BOOT = Boot("boot-1", 900.0)
_END = b"\0"


class GivenTail:
    """Records that are there at once."""

    def __init__(self, records: list[str]) -> None:
        self._records = records

    def poll(self) -> list[str]:
        records, self._records = self._records, []
        return records

    def wait(self, timeout_s: float) -> bool:
        return False

    def close(self) -> None:
        return


def one_input(body: bytes) -> None:
    """Records, with a zero byte between them."""
    records = [part.decode("utf-8", "replace").rstrip("\n") for part in body.split(_END)]
    sink = ListSink()
    follower = kernel_log(
        KernelLogSettings(node="n"),
        cluster="c",
        sink=sink,
        clock=ManualClock(NOW_S),
        resolve=lambda alias: entity_id("c", EntityKind.GPU, "GPU-1"),
        boot=_BOOT,
        per_minute_max=50,
        tail=GivenTail(records),
    )
    follower.poll()
    told = [event for event in sink.events if event.type is not EventType.HEARTBEAT]
    assert len(told) <= len(records)
    for event in told:
        assert event.time_s <= NOW_S, event
        assert len(str(event.data["line"])) <= LINE_MAX, event
        if event.data["witness"] == Witness.KERNEL_LOG:
            assert any(map(_by_the_kernel, records)), event


def _by_the_kernel(record: str) -> bool:
    """Whether a record says facility 0, read without a regular expression."""
    priority, comma, _ = record.partition(",")
    if comma and priority.isdecimal():
        return int(priority) < 8
    return record.startswith("kern")
