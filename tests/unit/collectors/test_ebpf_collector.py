"""The collector without a kernel that allows programs, and what it makes of what happens."""

import threading
from pathlib import Path
from typing import Any

import pytest

from collectors.ebpf.availability import Reason, Unavailable, hindrance, may_load
from collectors.ebpf.collector import EbpfCollector
from collectors.ebpf.happenings import Stuck, What, of_record
from collectors.ebpf.layout import OOM_VICTIM, PROCESS_EXIT, Record
from collectors.ebpf.snapshot import Communicator, OpenWait, Snapshot
from fleetmend.clock import ManualClock
from fleetmend.model.events import EventType
from fleetmend.settings.ebpf import EbpfSettings
from tests.unit.collectors.fakes import ListSink


def collector(
    sink: ListSink, clock: ManualClock, reason: Reason, heard: list[Any] | None = None
) -> EbpfCollector:
    return EbpfCollector(
        EbpfSettings(),
        cluster="c",
        node="n",
        sink=sink,
        clock=clock,
        hears=lambda kind, can: None if heard is None else heard.append((kind, can)),
        start=lambda _settings: reason,
        find=lambda _now_s: [],
    )


@pytest.mark.parametrize("why", list(Unavailable))
def test_what_is_not_there_is_a_figure_and_one_event_with_its_reason(why: Unavailable) -> None:
    sink, clock = ListSink(), ManualClock(100.0)
    heard: list[Any] = []
    made = collector(sink, clock, Reason(why, "words of the machine"), heard)
    made.open()
    for _ in range(3):
        made.poll()
        clock.sleep(1.0)

    assert sink.values("node.ebpf_available") == [(100.0, 0), (101.0, 0), (102.0, 0)]
    (told,) = sink.events
    assert (told.type, told.data["available"]) == (EventType.HEARTBEAT, False)
    assert (told.data["reason"], told.data["words"]) == (why.value, "words of the machine")
    assert sink.marks == [100.0, 101.0, 102.0]
    assert heard == [], "nobody waits for a tracepoint that is not there"


def test_it_goes_on_saying_so_now_and_then() -> None:
    sink, clock = ListSink(), ManualClock(100.0)
    made = collector(sink, clock, Reason(Unavailable.NO_BTF))
    for _ in range(25):
        made.poll()
        clock.sleep(1.0)

    assert len(sink.events) == 3


def test_a_node_without_programs_says_so_once_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    started = collector(ListSink(), ManualClock(), Reason(Unavailable.NO_BTF))
    started.open()
    for _ in range(3):
        started.poll()

    [line] = [record for record in caplog.records if record.name.startswith("collectors.")]
    assert Unavailable.NO_BTF.value in vars(line)["why"]


def test_it_stops_when_told_to() -> None:
    stop = threading.Event()
    stop.set()
    sink = ListSink()
    collector(sink, ManualClock(), Reason(Unavailable.NO_BTF)).run(stop)

    assert sink.events == []


def test_each_thing_that_is_missing_has_its_own_reason(tmp_path: Path) -> None:
    there, absent = tmp_path / "there", tmp_path / "absent"
    there.write_text("CapEff:\t0000000000000000\n")

    def why(**given: Any) -> Unavailable | None:
        reason = hindrance(**({"path": there, "btf": there, "status": there} | given))
        return reason.why if reason is not None else None

    assert why(path=absent) is Unavailable.NO_OBJECT
    assert why(btf=absent) is Unavailable.NO_BTF
    assert why() is Unavailable.NO_PRIVILEGES


@pytest.mark.parametrize(
    ("mask", "may"),
    [
        ("0", False),
        (f"{1 << 21:x}", True),
        (f"{1 << 38 | 1 << 39:x}", True),
        (f"{1 << 39:x}", False),
    ],
)
def test_root_or_both_narrow_capabilities_are_enough(tmp_path: Path, mask: str, may: bool) -> None:
    status = tmp_path / "status"
    status.write_text(f"Name:\tx\nCapEff:\t{mask}\n")

    assert may_load(status) is may


def test_a_wait_that_does_not_end_is_told_once_and_so_is_its_end() -> None:
    stuck = Stuck(after_s=30.0)
    waiting = Snapshot(waits=(OpenWait(7, 8, 0, "stream", 100.0),))

    told = [list(stuck.changes(waiting, at_s)) for at_s in (129.0, 131.0, 140.0)]
    over = list(stuck.changes(Snapshot(), 150.0))

    assert [[h.what for h in happened] for happened in told] == [[], [What.WAIT_STUCK], []]
    assert [(h.what, h.data["duration_s"]) for h in over] == [(What.WAIT_OVER, 50.0)]


def test_the_rank_that_stops_first_is_told_first() -> None:
    stuck = Stuck(after_s=30.0)

    def ranks(*last_s: float) -> Snapshot:
        return Snapshot(
            communicators=tuple(
                Communicator(pid, 1, "ab", pid, 2, 0, 5, at_s, aborted=False)
                for pid, at_s in enumerate(last_s)
            )
        )

    told = [
        (h.data["rank"], h.data["state"])
        for at_s, seen in (
            (129.0, ranks(100.0, 105.0)),
            (131.0, ranks(100.0, 105.0)),
            (136.0, ranks(100.0, 105.0)),
            (137.0, ranks(136.5, 105.0)),
        )
        for h in stuck.changes(seen, at_s)
    ]

    assert told == [(0, "idle"), (1, "idle"), (0, "active")]


def test_the_end_of_a_process_tells_status_and_signal() -> None:
    killed = of_record(Record(at_ns=5, kind=PROCESS_EXIT, pid=3, code=139, name=b"en\x1bgine"))
    left = of_record(Record(at_ns=5, kind=PROCESS_EXIT, pid=3, code=1 << 8))
    victim = of_record(Record(at_ns=5, kind=OOM_VICTIM, pid=4))

    assert killed is not None
    assert left is not None
    assert victim is not None
    assert (killed.process, killed.data) == ("en\\x1bgine", {"status": 0, "signal": 11})
    assert left.data == {"status": 1, "signal": 0}
    assert victim.what is What.OOM_VICTIM
