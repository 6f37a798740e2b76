"""The desk of a node: who is waited for how long, by a clock that nobody sets."""

from collectors.kmsg import Boot, kernel_log
from collectors.tail import Tail
from collectors.xid_desk import KernelDoor, XidDesk
from collectors.xid_merge import HOLD_S, XidSighting, XidWitness
from fleetmend.clock import ManualClock
from fleetmend.model.events import EventType
from fleetmend.settings.collectors import KernelLogSettings
from tests.unit.collectors.fakes import ListSink

PCI, UUID = "0000:3b:00", "GPU-5c2a"
KMSG = "6,1,{micros},-;NVRM: Xid (PCI:0000:3b:00): 31, pid=9, name=oob"
SWITCH = "6,2,100000000,-;nvidia-nvswitch3: SXid (PCI:0000:c2:00.0): 20034, Fatal, Link 30"


class SetClock(ManualClock):
    """A wall clock that somebody sets; the monotonic one goes on."""

    def __init__(self, start_s: float) -> None:
        super().__init__(start_s)
        self.set_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.set_s


class ListTail:
    def __init__(self) -> None:
        self.lines: list[str] = []

    def poll(self) -> list[str]:
        lines, self.lines = self.lines, []
        return lines

    def wait(self, timeout_s: float) -> bool:
        return False

    def close(self) -> None:
        return


class Node:
    """A desk with a kernel log, moved by hand; the machine started at 900 s, it is 1000 s."""

    def __init__(self) -> None:
        self.clock, self.sink, self.tail = SetClock(1000.0), ListSink(), ListTail()
        self.desk = XidDesk(
            cluster="c",
            node="n1",
            hold_s=HOLD_S,
            per_minute_max=100,
            sink=self.sink,
            clock=self.clock,
        )
        tail: Tail = self.tail
        self.follower = kernel_log(
            KernelLogSettings(node="n1"),
            cluster="c",
            sink=KernelDoor(self.sink, self.desk),
            clock=self.clock,
            resolve=self.desk.resolve,
            boot=Boot("b", 900.0),
            per_minute_max=100,
            tail=tail,
            may_be_named=lambda: not self.desk.learnt,
        )

    def kernel(self, line: str) -> None:
        self.tail.lines.append(line)
        self.follower.poll()

    def trace(self, *, kind: EventType = EventType.XID, pci: str = PCI, xid: int = 31) -> None:
        at_s = self.clock.now_s()
        self.desk.take(XidSighting(f"{pci}.0", xid, at_s, XidWitness.TRACEPOINT, kind=kind))

    def witnesses(self, kind: EventType = EventType.XID) -> list[object]:
        return [e.data["witnesses"] for e in self.sink.events if e.type is kind]

    def alive(self, witness: XidWitness, kind: EventType = EventType.XID) -> None:
        self.desk.alive(witness, kind, can_tell=True)


def test_a_witness_that_is_there_is_waited_for_and_one_that_is_not_costs_nothing() -> None:
    node = Node()
    node.desk.learn({PCI: UUID})
    node.trace()
    assert node.witnesses() == ["tracepoint"]

    node.alive(XidWitness.KERNEL_LOG)
    node.alive(XidWitness.TRACEPOINT)
    node.trace(xid=43)
    assert node.witnesses() == ["tracepoint"], "the kernel log is waited for"
    node.kernel(KMSG.format(micros=100_000_000).replace(" 31,", " 43,"))
    assert node.witnesses() == ["tracepoint", "kernel_log tracepoint"]


def test_the_wait_ends_within_a_tenth_of_a_second_whatever_the_wall_clock_does() -> None:
    node = Node()
    node.desk.learn({PCI: UUID})
    node.alive(XidWitness.NVML)
    node.trace()
    node.clock.set_s = -3600.0
    wait_s = node.desk.poll()
    assert 0 < wait_s <= 0.1
    assert node.witnesses() == []

    node.clock.sleep(wait_s)
    node.desk.poll()
    assert node.witnesses() == ["tracepoint"]


def test_after_the_clock_was_set_two_witnesses_still_mean_one_xid() -> None:
    """The kernel counts from its start; the others ask for the time."""
    node = Node()
    node.desk.learn({PCI: UUID})
    node.alive(XidWitness.KERNEL_LOG)
    node.clock.set_s = 7200.0
    node.trace()
    node.kernel(KMSG.format(micros=100_000_000))

    assert node.witnesses() == ["kernel_log tracepoint"]
    assert node.sink.events[-1].time_s == 1000.0 + 7200.0


def test_an_xid_waits_for_the_name_of_its_gpu_only_until_somebody_has_looked() -> None:
    node = Node()
    node.kernel(KMSG.format(micros=100_000_000))
    assert node.witnesses() == [], "the inventory has not been made yet"
    node.desk.learn({})
    node.follower.poll()
    assert node.witnesses() == ["kernel_log"]

    node.kernel(KMSG.format(micros=100_010_000))
    assert node.witnesses() == ["kernel_log"] * 2


def test_an_error_of_a_switch_told_twice_is_one_event_of_the_switch() -> None:
    node = Node()
    node.alive(XidWitness.KERNEL_LOG, EventType.SXID)
    node.trace(kind=EventType.SXID, pci="0000:c2:00", xid=20034)
    node.kernel(SWITCH)

    [event] = [e for e in node.sink.events if e.type is EventType.SXID]
    assert (event.data["sxid"], event.data["witnesses"]) == (20034, "kernel_log tracepoint")
    assert event.subject == "c/switch/n1/nvswitch3"
    assert "xid" not in event.data


def test_an_xid_and_an_sxid_of_one_number_are_two() -> None:
    node = Node()
    node.alive(XidWitness.KERNEL_LOG, EventType.SXID)
    node.trace(pci="0000:c2:00", xid=20034)
    node.kernel(SWITCH)

    assert node.witnesses(EventType.XID) == ["tracepoint"]
    assert node.witnesses(EventType.SXID) == ["kernel_log"]


def test_forged_lines_of_ever_new_numbers_share_one_cap() -> None:
    """And take nothing from what the kernel itself tells."""
    node = Node()
    node.desk.learn({})
    for number in range(300):
        forged = XidWitness.APPLICATION_LOG
        node.desk.take(XidSighting(PCI, 10**9 + number, node.clock.now_s(), forged))
    node.kernel(KMSG.format(micros=100_000_000))
    node.clock.sleep(1.0)
    node.desk.poll()

    told = node.witnesses()
    assert (told.count("application_log"), told.count("kernel_log")) == (100, 1)
    assert node.desk.dropped == 200
