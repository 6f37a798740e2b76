"""Counts of processes that come and go: totals never fall, levels belong to the living."""

from collections.abc import Mapping

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.ebpf.counts import Counts, Failure, Row
from collectors.ebpf.layout import Usage
from collectors.ebpf.snapshot import Communicator, OpenWait, ProcessUse, Snapshot
from fleetmend.model.entities import EntityId
from fleetmend.signals.catalogue import catalogue

NODE = EntityId("c/node/n")
GPU = EntityId("c/gpu/GPU-1")


def use(pid: int, device: int = -1, **counts: int) -> ProcessUse:
    return ProcessUse(pid, device, {name: 0 for name, *_ in Usage._fields_} | counts)


def counts(places: Mapping[int, EntityId]) -> Counts:
    return Counts(node=NODE, place=places.get)


def value(rows: list[Row], signal: str, entity: EntityId = GPU) -> float | None:
    found = [row[3] for row in rows if row[1] == entity and row[2] == signal]
    assert len(found) <= 1
    return found[0] if found else None


def read(
    made: Counts, seen: Snapshot, *, at_s: float = 10.0, gone: tuple[int, ...] = ()
) -> tuple[list[Row], list[Failure]]:
    result = made.rows(seen, at_s=at_s, monotonic_s=at_s, gone=gone)
    made.forget(gone)
    return result


def test_every_signal_that_goes_out_is_in_the_catalogue_for_its_entity() -> None:
    seen = Snapshot(
        uses=(use(1), use(2)),
        waits=(OpenWait(1, 1, -1, "stream", 5.0),),
        communicators=(Communicator(1, 7, "", 0, 2, -1, 3, 5.0, aborted=False),),
    )
    rows, _ = read(counts({1: GPU}), seen)

    for _, entity, name, _ in rows:
        assert catalogue().signal(name).entity.value == entity.split("/")[1]
    assert {entity for _, entity, *_ in rows} == {NODE, GPU}


def test_a_process_whose_gpu_is_not_known_counts_on_its_node() -> None:
    rows, _ = read(counts({}), Snapshot(uses=(use(1, outstanding=4096),)))

    assert value(rows, "node.gpu_memory_outstanding", NODE) == 4096
    assert value(rows, "gpu.memory_outstanding") is None


def test_what_an_ended_process_held_is_gone_and_what_it_did_stays() -> None:
    made = counts({1: GPU, 2: GPU})
    both = Snapshot(
        uses=(
            use(1, outstanding=100, allocated_bytes=100),
            use(2, outstanding=7, allocated_bytes=7),
        )
    )
    first, _ = read(made, both)
    second, _ = read(made, both, gone=(1,))
    third, _ = read(made, Snapshot(), gone=(2,))

    outstanding = [value(rows, "gpu.memory_outstanding") for rows in (first, second, third)]
    allocated = [value(rows, "gpu.memory_allocated") for rows in (first, second, third)]
    assert outstanding == [107, 7, 0]
    assert allocated == [107, 107, 107]


def test_a_process_with_the_number_of_another_begins_anew() -> None:
    made = counts({1: GPU})
    read(made, Snapshot(uses=(use(1, graph_launches=50),)))
    rows, _ = read(made, Snapshot(uses=(use(1, graph_launches=3),)))

    assert value(rows, "gpu.graph_launches") == 53


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 20), st.booleans()), max_size=30))
def test_totals_never_fall_and_are_the_sum_of_what_was_done(
    steps: list[tuple[int, int, bool]],
) -> None:
    made, done, expected, last = counts({1: GPU, 2: GPU, 3: GPU}), dict[int, int](), 0, 0.0
    for pid, more, ends in steps:
        done[pid] = done.get(pid, 0) + more
        expected += more
        seen = Snapshot(uses=tuple(use(p, allocated_bytes=n) for p, n in done.items()))
        rows, _ = read(made, seen, gone=(pid,) if ends else ())
        now = value(rows, "gpu.memory_allocated") or 0.0
        assert now >= last
        last = now
        if ends:
            del done[pid]
    assert last == expected


def test_failures_are_told_once_with_size_and_code() -> None:
    made = counts({})
    seen = Snapshot(uses=(use(1, 3, failures=2, failed_bytes=1 << 37, failed_code=2),))

    assert read(made, seen)[1] == [Failure(1, 3, 2, 1 << 37, 2)]
    assert read(made, seen)[1] == []


def test_the_oldest_open_wait_counts_and_those_of_ended_processes_do_not() -> None:
    made = counts({1: GPU, 2: GPU})
    waits = (OpenWait(1, 1, -1, "stream", 4.0), OpenWait(2, 2, -1, "event", 1.0))
    first, _ = read(made, Snapshot(waits=waits), at_s=10.0)
    second, _ = read(made, Snapshot(waits=waits), at_s=11.0, gone=(2,))

    assert (value(first, "gpu.sync_waits"), value(first, "gpu.sync_wait_oldest")) == (2, 9)
    assert (value(second, "gpu.sync_waits"), value(second, "gpu.sync_wait_oldest")) == (1, 7)


def test_allocations_that_found_no_room_say_that_the_counts_are_too_low() -> None:
    rows, _ = read(counts({}), Snapshot(uses=(use(1, untracked=4),), lost=2))

    assert value(rows, "node.ebpf_lost", NODE) == 6
