"""Attaching to what runs already, also in containers; refusals sink nothing; detaching is whole."""

import errno
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.ebpf.availability import Reason, Unavailable
from collectors.ebpf.layout import OOM_VICTIM
from collectors.ebpf.libbpf import BpfError
from collectors.ebpf.loaded import Refuse
from collectors.ebpf.multi import supported
from collectors.ebpf.probes import Probes
from collectors.ebpf.processes import processes
from collectors.ebpf.programs import Group
from fleetmend.clock import SystemClock
from tests.contract.ebpf.conftest import SETTINGS, Libraries, found, paths
from tests.contract.ebpf.stand_in import Worker, contained

MIB = 1 << 20
ROOT = Path(__file__).parents[3]


def outstanding(probes: Probes, worker: Worker) -> int:
    uses = (use for use in probes.snapshot().uses if use.pid == worker.pid)
    return sum(use.counts["outstanding"] for use in uses)


def held_in_kernel() -> Counter[str]:
    """What this process holds of programs, maps, links and perf events."""
    links: list[str] = []
    for entry in Path("/proc/self/fd").iterdir():
        try:
            links.append(os.readlink(entry))
        except OSError:  # the folder's own
            continue
    return Counter(x for x in links if "bpf" in x or "perf_event" in x)


def refusing(*groups: Group) -> Refuse:
    def refuse(group: Group) -> None:
        if group in groups:
            raise BpfError("bpf_object__load", errno.EPERM, "locked down")

    return refuse


def test_a_process_that_runs_already_is_counted_from_then_on(
    probes: Probes, worker: Worker
) -> None:
    before = worker.out("cuMemAlloc_v2", "out", MIB)
    probes.follow(processes())
    worker.out("cuMemAlloc_v2", "out", 3 * MIB)
    worker("cuMemFree_v2", before)

    (use,) = (use for use in probes.snapshot().uses if use.pid == worker.pid)
    assert (use.counts["outstanding"], use.counts["unknown_frees"]) == (3 * MIB, 1)


def test_a_process_in_a_container_is_found_through_its_root(
    probes: Probes, libraries: Libraries
) -> None:
    """Its own mounts: outside there is no file of that path."""
    if shutil.which("unshare") is None:
        pytest.skip("no unshare to make a mount namespace with")
    with contained(*paths(libraries)) as worker:
        (process,) = (process for process in processes() if process.pid == worker.pid)
        inside = process.libraries[0].path.relative_to(f"/proc/{worker.pid}/root")
        probes.follow([process])
        worker.out("cuMemAlloc_v2", "out", 5 * MIB)

        assert not (Path("/") / inside).exists()
        assert outstanding(probes, worker) == 5 * MIB


def test_a_library_that_nobody_maps_any_more_is_let_go(
    probes: Probes, worker: Worker, libraries: Libraries
) -> None:
    probes.follow([found(worker, libraries.nccl)])
    attached = held_in_kernel()
    probes.follow([])

    assert probes.state.libraries == 0
    assert held_in_kernel().total() < attached.total()


def test_no_more_libraries_are_probed_than_allowed(worker: Worker, libraries: Libraries) -> None:
    started = Probes.start(SETTINGS.model_copy(update={"libraries_max": 1}))
    assert isinstance(started, Probes)
    started.follow([found(worker, libraries.nccl, libraries.cuda)])
    state = started.state
    started.close()

    assert (state.libraries, state.over_limit) == (1, 1)


def test_detaching_leaves_nothing_behind(libraries: Libraries, worker: Worker) -> None:
    before = held_in_kernel()
    started = Probes.start(SETTINGS.model_copy(update={"libraries": (str(libraries.nccl),)}))
    assert isinstance(started, Probes)
    during = held_in_kernel()

    assert started.close() == 0
    assert during.total() > 20
    assert held_in_kernel() == before


def test_everything_is_let_go_within_a_second(libraries: Libraries) -> None:
    """The kernel waits once for all links to many functions: an agent that stops or a library that
    is gone holds nothing up."""
    if not supported():
        pytest.skip("this kernel links each function by itself")
    clock, took_s = SystemClock(), []
    for _ in range(3):
        both = tuple(map(str, paths(libraries)))
        started = Probes.start(SETTINGS.model_copy(update={"libraries": both}))
        assert isinstance(started, Probes)
        began_s = clock.monotonic_s()
        assert started.close() == 0
        took_s.append(clock.monotonic_s() - began_s)

    assert min(took_s) < 1.0, took_s


def test_a_kernel_that_links_each_function_by_itself_counts_the_same(
    libraries: Libraries, worker: Worker
) -> None:
    """Before Linux 6.6."""
    before = held_in_kernel()
    started = Probes.start(SETTINGS, multi=lambda: False)
    assert isinstance(started, Probes)
    started.follow([found(worker, libraries.nccl)])
    ours = worker.out("ncclCommInitRank", "out", 2, "identity", 1)
    worker("ncclAllReduce", 0, 0, 1, 0, 0, ours, 0)
    ranks = [(r.rank, r.calls) for r in started.snapshot().communicators if r.pid == worker.pid]

    assert started.close() == 0
    assert ranks == [(1, 1)]
    assert held_in_kernel() == before


def test_a_refused_group_takes_no_other_along(libraries: Libraries, worker: Worker) -> None:
    """Even the first, which would have made the maps."""
    started = Probes.start(SETTINGS, refuse=refusing(Group.MEMORY, Group.STALLS))
    assert isinstance(started, Probes)
    started.follow([found(worker, libraries.nccl)])
    ours = worker.out("ncclCommInitRank", "out", 2, "identity", 0)
    worker("ncclAllReduce", 0, 0, 1, 0, 0, ours, 0)
    state, seen = started.state, started.snapshot()
    started.close()

    assert set(state.refused) == {"memory", "stalls"}
    assert "locked down" in state.refused["memory"]
    assert "memory" not in state.groups
    assert [rank.calls for rank in seen.communicators if rank.pid == worker.pid] == [1]


def test_where_the_newer_oom_program_is_refused_the_older_stands_in(libraries: Libraries) -> None:
    started = Probes.start(SETTINGS, refuse=refusing(Group.OOM))
    assert isinstance(started, Probes)
    groups = started.state.groups
    started.close()

    assert "oom_before_6_8" in groups


def test_when_everything_is_refused_the_kernel_s_words_are_the_reason(
    libraries: Libraries,
) -> None:
    assert Probes.start(SETTINGS, refuse=refusing(*Group)) == Reason(
        Unavailable.REFUSED,
        "bpf_object__load: EPERM (Operation not permitted): locked down",
    )


def test_an_object_that_is_none_is_a_reason_and_no_crash(
    libraries: Libraries, tmp_path: Path
) -> None:
    broken = tmp_path / "gpu.bpf.o"
    broken.write_bytes(b"\x7fELF" + b"\0" * 60)

    reason = Probes.start(SETTINGS, path=broken)

    assert isinstance(reason, Reason)
    assert reason.why is Unavailable.REFUSED


def test_without_privileges_the_reason_is_told(libraries: Libraries) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv to drop privileges with")
    code = (
        "from collectors.ebpf.probes import Probes\n"
        "from fleetmend.settings.ebpf import EbpfSettings\n"
        "import sys; sys.stdout.write(Probes.start(EbpfSettings()).why.value)\n"
    )
    drop = ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
    ran = subprocess.run(
        ["setpriv", *drop, sys.executable, "-c", code],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout == "no_privileges"


@pytest.fixture
def memory_group() -> Iterator[Path]:
    """A cgroup whose processes may use 20 MB together."""
    top = Path("/sys/fs/cgroup")
    second = (top / "cgroup.subtree_control").exists()
    group = (top if second else top / "memory") / f"fleetmend-test-{os.getpid()}"
    try:
        group.mkdir()
        limit = "memory.max" if second else "memory.limit_in_bytes"
        (group / limit).write_text("20000000")
    except OSError as error:
        pytest.skip(f"no memory cgroup can be made: {error}")
    yield group
    group.rmdir()


def test_an_oom_kill_is_told_with_its_victim(probes: Probes, memory_group: Path) -> None:
    """A real one. The process enters the group before it becomes greedy."""
    probes.records()
    greed = f"echo $$ > {memory_group}/cgroup.procs; exec \"$0\" -c 'x = bytearray(1 << 29)'"
    victim = subprocess.Popen(["sh", "-c", greed, sys.executable])

    assert victim.wait() == -9
    told = [record.pid for record in probes.records() if record.kind == OOM_VICTIM]
    assert told == [victim.pid]
