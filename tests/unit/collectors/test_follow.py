"""Following logs: nothing twice, nothing lost by rotation, and storms are capped by kind."""

import os
from collections import deque
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.engine_logs import engine_log
from collectors.follow import LogFollower, RateCap
from collectors.kmsg import Boot, kernel_log, missed, this_boot
from collectors.naming import Resolve
from collectors.tail import READ_MAX, FileTail, KmsgTail, Tail, held_lines, open_tail
from fleetmend.clock import ManualClock
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import EventType
from fleetmend.settings.collectors import EngineLogSettings, KernelLogSettings
from tests.unit.collectors.fakes import ListSink

XID = "NVRM: Xid (PCI:0000:00:06): 79, GPU has fallen off the bus."
GPU = entity_id("c", EntityKind.GPU, "GPU-1")
BOOT = Boot("boot-1", 900.0)


class ListTail:
    """Lines that the test adds."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.closed = False

    def poll(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    def wait(self, timeout_s: float) -> bool:
        return False

    def close(self) -> None:
        self.closed = True


class Rig:
    """A follower of the kernel log of node n, at 1000 s, booted at 900 s."""

    def __init__(
        self,
        *,
        boot: Boot = BOOT,
        per_minute_max: int = 100,
        resolve: Resolve | None = None,
        clock: ManualClock | None = None,
        tail: Tail | None = None,
    ) -> None:
        self.clock = clock or ManualClock(1000.0)
        self.sink = ListSink()
        self.tail = ListTail()
        self.follower: LogFollower = kernel_log(
            KernelLogSettings(node="n"),
            cluster="c",
            sink=self.sink,
            clock=self.clock,
            resolve=resolve or self.resolve,
            boot=boot,
            per_minute_max=per_minute_max,
            tail=tail or self.tail,
        )

    def resolve(self, alias: str) -> EntityId | None:
        """Node n has one GPU."""
        return GPU if alias == "n/pci:0000:00:06" else None

    def read(self, *lines: str) -> list[tuple[object, ...]]:
        """What the lines give: time, subject, witness."""
        before = len(self.sink.events)
        self.tail.lines += lines
        self.follower.poll()
        new = [e for e in self.sink.events[before:] if e.type is not EventType.HEARTBEAT]
        return [(e.time_s, e.subject, e.data["witness"]) for e in new]


def test_a_record_is_told_with_the_time_at_which_the_kernel_wrote_it() -> None:
    rig = Rig()
    assert rig.read(f"4,7,99500000,-;{XID}") == [(999.5, GPU, "kernel_log")]


def test_a_record_that_user_space_wrote_is_an_applications_word() -> None:
    rig = Rig()
    assert rig.read(f"12,7,99500000,-;{XID}") == [(999.5, GPU, "application_log")]


def test_a_record_of_a_set_clock_does_not_lie_in_the_future() -> None:
    rig = Rig()
    assert rig.read(f"4,7,500000000,-;{XID}") == [(1000.0, GPU, "kernel_log")]


def test_a_plain_line_is_only_an_applications_word() -> None:
    rig = Rig()
    assert rig.read(f"[   99.500000] {XID}") == [(999.5, GPU, "application_log")]


def test_the_same_record_is_one_event_also_after_a_restart_with_another_boot_time() -> None:
    """The boot time is worked out anew at each start and never comes out quite the same."""
    ids = []
    for at_s in (900.0, 900.003):
        rig = Rig(boot=Boot("boot-1", at_s))
        rig.read(f"4,7,99500000,-;{XID}", f"4,7,99500000,-;{XID}")
        ids += [e.id for e in rig.sink.events if e.type is EventType.XID]
    assert len(ids) == 2
    assert len(set(ids)) == 1
    other = Rig(boot=Boot("boot-2", 900.0))
    other.read(f"4,7,99500000,-;{XID}")
    assert other.sink.events[0].id not in ids


def test_what_was_printed_while_nobody_followed_is_told_and_only_that(tmp_path: Path) -> None:
    """A worker that was killed loses no Xid; what is older than the look back is long known."""
    path = tmp_path / "kmsg"
    lines = [f"4,6,10000000,-;{XID}", f"4,7,99500000,-;{XID}", f"[   99.600000] {XID}", XID]
    path.write_text("\n".join(lines) + "\n4,8,999")
    sink = ListSink()
    follower = kernel_log(
        KernelLogSettings(node="n", path=str(path), look_back_s=60.0),
        cluster="c",
        sink=sink,
        clock=ManualClock(1000.0),
        resolve=lambda _: GPU,
        boot=BOOT,
        per_minute_max=100,
    )
    follower.poll()
    told = [e.time_s for e in sink.events if e.type is EventType.XID]
    assert told == pytest.approx([999.5, 999.6])


def test_what_an_earlier_boot_printed_is_left() -> None:
    """Its records may be as many seconds old as this boot's, by their own count."""
    before = [f"4,{n},{n}00000,-;{XID}" for n in range(900, 995)]
    now = [f"4,1,98000000,-;{XID}", f"4,2,99000000,-;{XID}"]
    assert missed([*before, *now], boot=BOOT, now_s=1000.0, look_back_s=600.0) == now


def test_a_log_that_is_not_there_yet_holds_nothing(tmp_path: Path) -> None:
    assert held_lines(tmp_path / "none") == []


def test_of_a_long_file_only_the_newest_whole_lines_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "kmsg"
    path.write_text("".join(f"{n:07d} {'x' * 91}\n" for n in range(20_000)))
    lines = held_lines(path)
    assert len(lines) == READ_MAX // 100
    assert (len(lines[0]), lines[-1][:7]) == (99, "0019999")


def test_an_event_waits_for_the_name_of_its_gpu_and_marks_wait_with_it() -> None:
    """After a start a log may be read before the first scrape says which GPU has the address."""
    known: dict[str, EntityId] = {}
    rig = Rig(resolve=known.get)
    assert rig.read(f"4,7,99500000,-;{XID}") == []
    rig.clock.sleep(1.0)
    assert rig.read() == []
    assert rig.sink.marks == [999.5]
    known["n/pci:0000:00:06"] = GPU

    assert rig.read() == [(999.5, GPU, "kernel_log")]
    rig.clock.sleep(1.0)
    rig.read()
    assert rig.sink.marks[-1] == pytest.approx(1001.5)


def test_an_event_whose_gpu_nobody_names_is_about_its_node() -> None:
    rig = Rig(resolve=lambda _: None)
    rig.read(f"4,7,99500000,-;{XID}")
    rig.clock.sleep(10.0)
    assert rig.read() == [(999.5, entity_id("c", EntityKind.NODE, "n"), "kernel_log")]


def test_a_burst_of_equal_xids_is_as_many_events() -> None:
    rig = Rig()
    assert len(rig.read(*(f"4,{i},99500000,-;{XID}" for i in range(5)))) == 5


def test_a_storm_is_capped_and_counted_and_hides_no_other_kind() -> None:
    rig = Rig(per_minute_max=10)
    aer = "pcieport 0000:64:02.0: PCIe Bus Error: severity=Corrected, type=Data Link Layer"
    told = rig.read(*(f"4,{i},99500000,-;{aer}" for i in range(500)), f"4,900,99500000,-;{XID}")
    assert len(told) == 11
    assert told[-1][1] == GPU
    rig.clock.sleep(60.0)
    assert len(rig.read(f"4,901,99600000,-;{aer}")) == 1
    heartbeat = rig.sink.events[-1]
    assert (heartbeat.type, heartbeat.data) == (
        EventType.HEARTBEAT,
        {"lines": 502, "dropped": 490, "overwritten": 0},
    )


def test_a_forged_flood_does_not_use_up_the_kernels_share() -> None:
    rig = Rig(per_minute_max=3)
    told = rig.read(*(f"12,{i},99500000,-;{XID}" for i in range(50)), f"4,99,99500000,-;{XID}")
    assert [witness for _, _, witness in told] == ["application_log"] * 3 + ["kernel_log"]


def test_marks_stay_behind_and_never_go_back_and_are_few() -> None:
    rig = Rig()
    for _ in range(12):
        rig.read(f"4,1,{int((rig.clock.now_s() - 900.2) * 1e6)},-;x")
        rig.clock.sleep(0.1)
    assert rig.sink.marks == pytest.approx([999.5, 1000.0, 1000.5])


class SetClock(ManualClock):
    """A clock of which somebody sets the time of day."""

    set_by_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.set_by_s


@pytest.mark.parametrize("set_by_s", [-7200.0, 7200.0])
def test_a_clock_that_jumps_stops_no_heartbeat_and_takes_back_no_mark(set_by_s: float) -> None:
    clock = SetClock(1000.0)
    rig = Rig(clock=clock)
    for second in range(41):
        if second == 15:
            clock.set_by_s = set_by_s
        rig.read()
        clock.sleep(1.0)
    beats = [e.time_s for e in rig.sink.events if e.type is EventType.HEARTBEAT]
    assert beats == [1000.0, 1010.0, *(set_by_s + at for at in (1020.0, 1030.0, 1040.0))]
    assert rig.sink.marks == sorted(rig.sink.marks)


@pytest.mark.parametrize("set_by_s", [-7200.0, 7200.0])
def test_an_event_waits_five_seconds_for_a_name_however_the_clock_is_set(set_by_s: float) -> None:
    clock = SetClock(1000.0)
    rig = Rig(clock=clock, resolve=lambda _: None)
    rig.read(f"4,7,99500000,-;{XID}")
    clock.set_by_s = set_by_s
    clock.sleep(4.0)
    assert rig.read() == []
    clock.sleep(1.0)
    assert rig.read() == [(999.5, entity_id("c", EntityKind.NODE, "n"), "kernel_log")]


class Device:
    """Stands in for reads of /dev/kmsg: records, or the errors that the kernel answers with."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answers: deque[bytes | OSError] = deque()
        self.reads = 0
        monkeypatch.setattr("collectors.tail.os.read", self.read)

    def read(self, descriptor: int, size: int) -> bytes:
        self.reads += 1
        answer = self.answers.popleft() if self.answers else BlockingIOError()
        if isinstance(answer, OSError):
            raise answer
        return answer

    def give(self, *numbers: int) -> None:
        """Records of these numbers."""
        self.answers += (b"4,%d,99500000,-;%s\n" % (n, XID.encode()) for n in numbers)


def test_records_that_the_kernel_overwrote_are_counted_and_the_rest_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(monkeypatch)
    tail = KmsgTail(Path(os.devnull), from_start=True)
    rig = Rig(tail=tail)
    device.give(7)
    device.answers.append(BrokenPipeError())
    device.give(20, 21)
    assert len(rig.read()) == 3
    rig.clock.sleep(10.0)
    rig.read()
    assert rig.sink.events[-1].data == {"lines": 3, "dropped": 0, "overwritten": 12}
    tail.close()


def test_a_log_that_is_overwritten_faster_than_it_is_read_ends_every_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    device = Device(monkeypatch)
    tail = KmsgTail(Path(os.devnull), from_start=True)
    device.answers += [BrokenPipeError() for _ in range(10_000)]
    assert tail.poll() == []
    assert device.reads < 1000
    tail.close()


def test_a_silent_log_still_beats() -> None:
    rig = Rig()
    for _ in range(25):
        rig.read()
        rig.clock.sleep(1.0)
    beats = [e for e in rig.sink.events if e.type is EventType.HEARTBEAT]
    assert [e.time_s for e in beats] == [1000.0, 1010.0, 1020.0]
    assert beats[0].subject == "c/collector/kmsg-n"


def test_an_engines_log_speaks_of_the_engine() -> None:
    sink, tail, clock = ListSink(), ListTail(), ManualClock(1000.0)
    follower = engine_log(
        EngineLogSettings(engine="e-1", node="n", path="engine.log"),
        cluster="c",
        sink=sink,
        clock=clock,
        resolve=lambda _: None,
        per_minute_max=10,
        tail=tail,
    )
    tail.lines += ["TimeoutError: RPC call to execute_model timed out.", "INFO all is well", XID]
    follower.poll()
    told = [e for e in sink.events if e.type is EventType.LOG_SIGNATURE]
    assert [(e.subject, e.data["signature"], e.data["method"]) for e in told] == [
        ("c/engine/e-1", "rpc_timeout", "execute_model")
    ]


@pytest.fixture
def log(tmp_path: Path) -> Iterator[tuple[Path, Tail]]:
    """A file with an old line, followed from its end."""
    path = tmp_path / "kern.log"
    path.write_text("old\n")
    tail = open_tail(path, from_start=False)
    yield path, tail
    tail.close()


def append(path: Path, text: str) -> None:
    """Write to the end of a file."""
    with path.open("a") as file:
        file.write(text)


def test_only_whole_new_lines_are_given(log: tuple[Path, Tail]) -> None:
    path, tail = log
    assert tail.poll() == []
    append(path, "one\ntw")
    assert tail.poll() == ["one"]
    append(path, "o\n")
    assert tail.poll() == ["two"]


def test_rotation_loses_no_line(log: tuple[Path, Tail]) -> None:
    """Lines written after the last look and before the move are still read, then the new file."""
    path, tail = log
    append(path, "before\nlast without an end")
    path.rename(path.with_suffix(".1"))
    path.write_text("after\n")
    assert [*tail.poll(), *tail.poll()] == ["before", "last without an end", "after"]


def test_a_file_cut_short_is_read_from_its_new_start(log: tuple[Path, Tail]) -> None:
    path, tail = log
    append(path, "a long line that was read\n")
    assert len(tail.poll()) == 1
    path.write_text("new\n")
    assert tail.poll() == ["new"]


def test_a_file_that_is_gone_for_a_while_is_waited_for(log: tuple[Path, Tail]) -> None:
    path, tail = log
    path.unlink()
    assert tail.poll() == []
    path.write_text("back\n")
    assert tail.poll() == ["back"]


def test_a_file_that_comes_later_is_read_from_its_start(tmp_path: Path) -> None:
    tail = FileTail(tmp_path / "later.log", from_start=False)
    assert tail.poll() == []
    (tmp_path / "later.log").write_text("first\n")
    assert tail.poll() == ["first"]
    tail.close()


def test_a_line_without_end_does_not_fill_the_memory(log: tuple[Path, Tail]) -> None:
    path, tail = log
    append(path, "x" * 3_000_000)
    lines = [line for _ in range(4) for line in tail.poll()]
    assert lines
    assert all(len(line) <= 65_536 for line in lines)


def test_a_file_that_may_not_be_read_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(BadInput, match="folder"):
        FileTail(tmp_path / "folder", from_start=True).poll()


def test_devices_are_followed_as_devices() -> None:
    """/dev/null is a character device as /dev/kmsg is, and ends at once."""
    tail = open_tail(Path(os.devnull), from_start=True)
    assert isinstance(tail, KmsgTail)
    assert tail.poll() == []
    tail.close()


def test_the_boot_is_read_from_the_kernel(tmp_path: Path) -> None:
    (tmp_path / "id").write_text("boot-1\n")
    (tmp_path / "uptime").write_text("100.25 55.0\n")
    clock = ManualClock(1000.0)
    boot = this_boot(clock, boot_id=tmp_path / "id", uptime=tmp_path / "uptime")
    assert boot == Boot("boot-1", 899.75)
    with pytest.raises(BadInput):
        this_boot(clock, boot_id=tmp_path / "no", uptime=tmp_path / "uptime")


def test_the_cap_counts_by_kind_and_forgets_after_a_minute() -> None:
    cap = RateCap(per_minute_max=2)
    assert [cap.admit("a", at) for at in (0.0, 1.0, 2.0)] == [True, True, False]
    assert cap.admit("b", 2.0)
    assert cap.admit("a", 60.5)
    assert cap.dropped == 1


def test_kinds_that_are_invented_fill_no_memory() -> None:
    """And what comes of a known kind meanwhile is let through."""
    cap = RateCap(per_minute_max=2)
    assert cap.admit("known", 0.0)
    admitted = sum(cap.admit(f"invented {number}", 1.0) for number in range(10_000))

    assert admitted < 5000
    assert cap.dropped == 10_000 - admitted
    assert cap.admit("known", 2.0)
    assert all(cap.admit(f"later {number}", 62.0) for number in range(1000)), "none is remembered"


@pytest.mark.parametrize("made", ["pipe", "link to a pipe", "link to a device"])
def test_an_engine_that_puts_something_else_in_place_of_its_log_blocks_nobody(
    made: str, tmp_path: Path
) -> None:
    """At the start, where it would keep the whole collector from starting, and while it runs."""
    log = tmp_path / "engine.log"
    log.write_text("")
    running = FileTail(log, from_start=False)
    log.unlink()
    os.mkfifo(tmp_path / "pipe")
    log.symlink_to(os.devnull if made == "link to a device" else tmp_path / "pipe")
    if made == "pipe":
        (tmp_path / "pipe").rename(log)
    follower = engine_log(
        EngineLogSettings(engine="e", node="n", path=str(log)),
        cluster="c",
        sink=ListSink(),
        clock=ManualClock(1000.0),
        resolve=lambda _alias: None,
        per_minute_max=10,
    )

    with pytest.raises(BadInput, match="no plain file"):
        follower.poll()
    with pytest.raises(BadInput, match="no plain file"):
        running.poll()
    log.unlink()
    log.write_text("back\n")
    assert running.poll() == ["back"]
    running.close()


def test_a_device_is_waited_for_and_one_that_has_ended_is_not(tmp_path: Path) -> None:
    """What stands in for the kernel log may end: it is then readable for ever, and says nothing."""
    pipe = tmp_path / "kmsg"
    os.mkfifo(pipe)
    tail = KmsgTail(pipe, from_start=True)
    writer = os.open(pipe, os.O_WRONLY)
    os.write(writer, b"6,1,1,-;one\n")

    assert tail.wait(60.0)
    assert tail.poll() == ["6,1,1,-;one"]
    os.close(writer)
    assert tail.wait(60.0)
    assert tail.poll() == []
    assert not tail.wait(60.0)
    tail.close()
