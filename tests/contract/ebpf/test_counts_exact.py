"""What the kernel's programs count is what the process did, to the byte."""

import random
import socket
import time
from collections.abc import Callable, Mapping

from collectors.ebpf.layout import PROCESS_EXIT
from collectors.ebpf.probes import Probes
from collectors.ebpf.snapshot import Snapshot
from tests.contract.ebpf.stand_in import Worker

MIB = 1 << 20
PROPERTIES = ("properties", 0)
IDENTITY = f"{0xABCDEF:016x}"


def used(probes: Probes, worker: Worker, device: int | None = None) -> Mapping[str, int]:
    """What was counted of the worker: on a device, or the one entry there is."""
    (use,) = (
        use
        for use in probes.snapshot().uses
        if use.pid == worker.pid and device in (None, use.device)
    )
    return use.counts


def eventually(probes: Probes, holds: Callable[[Snapshot], bool]) -> Snapshot:
    """The first snapshot for which this holds; fails after five seconds."""
    until_s = time.monotonic() + 5  # noqa: TID251
    while not holds(seen := probes.snapshot()):
        assert time.monotonic() < until_s, seen  # noqa: TID251
    return seen


def test_outstanding_bytes_are_exact_over_every_way_to_allocate(
    counting: Probes, worker: Worker
) -> None:
    """A seeded walk over all allocators; the test keeps its own count."""
    chance = random.Random(7)
    ways = {
        "cuMemAlloc_v2": ((), "cuMemFree_v2", ()),
        "cuMemAllocManaged": ((1,), "cuMemFree_v2", ()),
        "cuMemAllocAsync": ((0,), "cuMemFreeAsync", (0,)),
        "cuMemAllocFromPoolAsync": ((0, 0), "cuMemFreeAsync", (0,)),
        "cuMemCreate": (PROPERTIES, "cuMemRelease", ()),
    }
    held: list[tuple[str, int, int]] = []
    allocated = freed = 0
    for _ in range(300):
        if held and chance.random() < 0.45:
            way, address, size = held.pop(chance.randrange(len(held)))
            assert worker(ways[way][1], address, *ways[way][2])[0] == 0
            freed += size
        else:
            way, size = chance.choice(list(ways)), chance.randrange(1, 8 * MIB)
            held.append((way, worker.out(way, "out", size, *ways[way][0]), size))
            allocated += size

    uses = [use.counts for use in counting.snapshot().uses if use.pid == worker.pid]
    assert sum(counts["outstanding"] for counts in uses) == sum(size for *_, size in held)
    assert sum(counts["allocated_bytes"] for counts in uses) == allocated
    assert sum(counts["freed_bytes"] for counts in uses) == freed
    assert all(counts["unknown_frees"] == counts["untracked"] == 0 for counts in uses)


def test_rows_of_pitched_memory_count_with_their_padding(counting: Probes, worker: Worker) -> None:
    worker.out("cuMemAllocPitch_v2", "out", "out", 1000, 30, 4)

    assert used(counting, worker)["outstanding"] == 1024 * 30


def test_a_failed_allocation_counts_with_its_size_and_code(
    counting: Probes, worker: Worker
) -> None:
    for call in (("cuMemAlloc_v2", "out", 200 << 30), ("cuMemAllocAsync", "out", 201 << 30, 0)):
        assert worker(*call)[0] == 2

    counts = used(counting, worker)
    assert (counts["failures"], counts["failed_bytes"], counts["failed_code"]) == (2, 201 << 30, 2)
    assert counts["outstanding"] == 0


def test_frees_of_the_unknown_count_apart_and_take_nothing_away(
    counting: Probes, worker: Worker
) -> None:
    address = worker.out("cuMemAlloc_v2", "out", MIB)
    worker("cuMemFree_v2", 0)  # allowed, and nothing
    worker("cuMemFree_v2", 0x1234)
    worker("cuMemRelease", 0x1234)
    worker("cuMemFree_v2", address)
    worker("cuMemFree_v2", address)

    counts = used(counting, worker)
    assert (counts["unknown_frees"], counts["outstanding"], counts["frees"]) == (3, 0, 1)


def test_a_mapped_allocation_lives_until_mapping_and_handle_are_both_given_back(
    counting: Probes, worker: Worker
) -> None:
    handles = [worker.out("cuMemCreate", "out", 2 * MIB, *PROPERTIES) for _ in range(2)]
    at = 0x5000000000
    for place, handle in enumerate(handles):
        assert worker("cuMemMap", at + place * 2 * MIB, 2 * MIB, 0, handle, 0)[0] == 0
        assert worker("cuMemRelease", handle)[0] == 0
    held = used(counting, worker, device=1)["outstanding"]
    again = worker.out("cuMemRetainAllocationHandle", "out", at)
    worker("cuMemUnmap", at, 4 * MIB)  # one call over both
    kept = used(counting, worker, device=1)["outstanding"]
    worker("cuMemRelease", again)

    assert (held, kept) == (4 * MIB, 2 * MIB)
    assert used(counting, worker, device=1)["outstanding"] == 0


def test_bytes_belong_to_the_device_of_the_context_in_use(counting: Probes, worker: Worker) -> None:
    contexts = [worker.out("cuDevicePrimaryCtxRetain", "out", device) for device in (0, 1)]
    for device, context in enumerate(contexts):
        worker("cuCtxSetCurrent", context)
        worker.out("cuMemAlloc_v2", "out", (device + 1) * MIB)
    worker("cuCtxPopCurrent_v2", "out")
    worker.out("cuMemAlloc_v2", "out", 7 * MIB)  # whose, nobody can say

    assert used(counting, worker, device=0)["outstanding"] == MIB
    assert used(counting, worker, device=1)["outstanding"] == 2 * MIB
    assert used(counting, worker, device=-1)["outstanding"] == 7 * MIB


def test_launches_of_graphs_and_kernels_are_counted(counting: Probes, worker: Worker) -> None:
    for _ in range(5):
        worker("cuGraphLaunch", 1, 1)
    for _ in range(9):
        worker("cuLaunchKernel", *([0] * 11))

    counts = used(counting, worker)
    assert (counts["graph_launches"], counts["kernel_launches"]) == (5, 9)


def test_a_wait_that_does_not_return_is_open_until_it_does(
    counting: Probes, worker: Worker
) -> None:
    worker("cuEventSynchronize", 1)
    worker("hangUp")
    worker("thread", "cuStreamSynchronize", 0xDEAD)

    seen = eventually(counting, lambda seen: any(w.pid == worker.pid for w in seen.waits))
    (wait,) = (wait for wait in seen.waits if wait.pid == worker.pid)
    worker("letGo")
    eventually(counting, lambda seen: not any(w.pid == worker.pid for w in seen.waits))

    assert wait.on == "stream"
    assert wait.thread != worker.pid
    assert used(counting, worker)["waits"] == 2


def test_nccl_calls_count_for_each_communicator_with_its_rank(
    counting: Probes, worker: Worker
) -> None:
    ours = worker.out("ncclCommInitRank", "out", 4, "identity", 2)
    other = worker.out("ncclCommInitRank", "out", 4, "identity", 3)
    for _ in range(3):
        worker("ncclAllReduce", 0, 0, 1, 0, 0, ours, 0)
    worker("ncclAllGather", 0, 0, 1, 0, ours, 0)
    worker("ncclReduce", 0, 0, 1, 0, 0, 0, ours, 0)
    worker("ncclAllReduce", 0, 0, 1, 0, 0, other, 0)
    worker("ncclCommAbort", other)

    ranks = {
        rank.rank: rank for rank in counting.snapshot().communicators if rank.pid == worker.pid
    }
    assert {rank: (seen.calls, seen.aborted) for rank, seen in ranks.items()} == {
        2: (5, False),
        3: (1, True),
    }
    assert {(seen.identity, seen.ranks) for seen in ranks.values()} == {(IDENTITY, 4)}


def test_an_uninterruptible_sleep_is_seen_while_it_lasts_and_counted_when_it_was_long(
    counting: Probes, worker: Worker
) -> None:
    worker.out("cuMemAlloc_v2", "out", MIB)  # who never used a GPU is not watched
    worker("thread", "stall", 20)
    worker("thread", "stall", 900)  # over the limit of half a second

    eventually(counting, lambda seen: worker.pid in seen.blocked_s)
    seen = eventually(counting, lambda seen: worker.pid in seen.stalls)

    assert seen.stalls[worker.pid] == 1
    eventually(counting, lambda seen: worker.pid not in seen.blocked_s)


def test_segments_that_are_sent_again_are_counted(counting: Probes) -> None:
    """A listener whose queue is full drops what asks for a connection."""
    before = counting.snapshot().retransmits
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        askers = [socket.socket() for _ in range(4)]
        for asker in askers:
            asker.setblocking(False)
            asker.connect_ex(listener.getsockname())
        eventually(counting, lambda seen: seen.retransmits > before)
        for asker in askers:
            asker.close()


def test_the_end_of_a_process_is_told_with_its_signal_and_leaves_nothing(
    counting: Probes, worker: Worker
) -> None:
    counting.records()
    worker.out("cuMemAlloc_v2", "out", MIB)
    worker.kill()

    ended = [r for r in counting.records() if r.kind == PROCESS_EXIT and r.pid == worker.pid]
    counting.sweep([worker.pid])

    assert [record.code for record in ended] == [9]
    assert all(use.pid != worker.pid for use in counting.snapshot().uses)
