"""One Xid told by three witnesses is one event, whatever the order and the delays."""

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.xid_merge import HOLD_S, REMEMBER_S, XidMerger, XidSighting, XidWitness
from fleetmend.model.events import Event

KERNEL, TRACE, NVML = XidWitness.KERNEL_LOG, XidWitness.TRACEPOINT, XidWitness.NVML
THREE = (KERNEL, TRACE, NVML)
UUID = "GPU-5c2a"
NAMED = {KERNEL: "0000:3b:00", TRACE: "0000:3B:00.0", NVML: UUID}


def merger(alive: Sequence[XidWitness] = THREE) -> XidMerger:
    made = XidMerger(cluster="c", node="n1")
    made.learn({"00000000:3B:00.0": UUID})
    for witness in alive:
        made.alive(witness, can_tell=True)
    return made


def seen(witness: XidWitness, *, xid: int = 31, at_s: float = 100.0, gpu: str = "") -> XidSighting:
    return XidSighting(gpu or NAMED[witness], xid, at_s, witness, line=f"said by {witness}")


def played(
    merging: XidMerger, arrivals: Sequence[tuple[float, XidSighting]], *, until_s: float
) -> list[Event]:
    events: list[Event] = []
    for heard_s, sighting in sorted(arrivals, key=lambda arrival: arrival[0]):
        events += merging.due(heard_s)
        events += merging.take(sighting, heard_s)
    return events + merging.due(until_s)


@given(
    delays_s=st.tuples(*[st.floats(0, REMEMBER_S / 2)] * 3),
    told=st.sets(st.sampled_from(THREE), min_size=1),
    count=st.integers(1, 4),
)
@settings(max_examples=60)
def test_any_order_and_delay_gives_each_xid_once(
    delays_s: tuple[float, float, float], told: set[XidWitness], count: int
) -> None:
    arrivals = [
        (100.0 + n * 0.01 + delay_s, seen(witness, at_s=100.0 + n * 0.01))
        for witness, delay_s in zip(THREE, delays_s, strict=True)
        if witness in told
        for n in range(count)
    ]
    merging = merger()

    events = played(merging, arrivals, until_s=200.0)

    assert len(events) == count
    assert len({event.id for event in events}) == count
    told_of = sum(len(str(event.data["witnesses"]).split()) for event in events)
    assert told_of + merging.late == count * len(told), "nobody's word is lost or counted twice"


@given(order=st.permutations(THREE))
def test_three_witnesses_in_time_are_one_event_of_the_gpu(order: list[XidWitness]) -> None:
    merging = merger()
    events = played(
        merging, [(100.0 + n * 0.01, seen(w)) for n, w in enumerate(order)], until_s=100.03
    )

    [event] = events
    assert event.subject == f"c/gpu/{UUID}"
    assert event.data["witnesses"] == "kernel_log nvml_event tracepoint"
    assert event.data["witness"] == "kernel_log", "the kernel's word goes first"
    assert event.data["line"] == "said by kernel_log"
    assert event.data["pci"] == "0000:3b:00"


def test_nobody_is_waited_for_who_is_not_there() -> None:
    assert merger(alive=(KERNEL,)).take(seen(KERNEL), 100.0)
    assert merger().take(seen(KERNEL), 100.0) == []


def test_the_wait_for_others_has_an_end() -> None:
    merging = merger()
    merging.take(seen(NVML), 100.0)

    assert merging.due(100.0 + HOLD_S / 2) == []
    assert merging.oldest_s == 100.0
    [event] = merging.due(100.0 + HOLD_S)
    assert event.data["witness"] == "driver_event"
    assert merging.oldest_s is None


def test_other_gpus_other_codes_and_other_times_are_other_xids() -> None:
    arrivals = [
        (100.0, seen(KERNEL)),
        (100.0, seen(NVML, xid=43)),
        (100.0, seen(TRACE, gpu="0000:86:00.0")),
        (109.0, seen(NVML, at_s=109.0)),
    ]

    assert len(played(merger(), arrivals, until_s=200.0)) == 4


def test_what_anybody_could_have_written_never_counts_as_a_second_witness() -> None:
    forged = XidSighting("0000:3b:00", 79, 100.0, XidWitness.APPLICATION_LOG, line="NVRM: Xid")
    events = played(merger(), [(100.0, forged), (100.0, seen(KERNEL, xid=79))], until_s=101.0)

    assert sorted(str(event.data["witnesses"]) for event in events) == [
        "application_log",
        "kernel_log",
    ]


def test_an_unknown_address_is_told_of_the_node() -> None:
    [event] = merger(alive=()).take(seen(KERNEL, gpu="0000:99:00"), 100.0)

    assert event.subject == "c/node/n1"
    assert event.data["pci"] == "0000:99:00"


def test_a_line_read_again_after_a_restart_has_the_same_id() -> None:
    line = XidSighting("0000:3b:00", 31, 100.0, KERNEL, identity="boot 7 12.5")
    [before] = merger(alive=(KERNEL,)).take(line, 100.0)
    again = XidSighting("0000:3b:00", 31, 100.3, KERNEL, identity="boot 7 12.5")
    [after] = merger(alive=(KERNEL,)).take(again, 180.0)

    assert before.id == after.id
