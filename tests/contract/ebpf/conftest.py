"""What the tests of the kernel's programs need: a kernel that allows them, and the stand-ins."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from collectors.ebpf.availability import hindrance, object_path
from collectors.ebpf.probes import Probes
from collectors.ebpf.processes import MappedLibrary, Process, library_at, started_at
from fleetmend.settings.ebpf import EbpfSettings
from tests.contract.ebpf.stand_in import Worker, compiled, in_first_pid_namespace

SETTINGS = EbpfSettings(libraries=(), launches=True)


@dataclass(frozen=True, slots=True)
class Libraries:
    """The stand-ins."""

    cuda: Path
    nccl: Path


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    """Compiled once; skips where the kernel or the compiler is not there, with the reason."""
    reason = hindrance(path=object_path())
    if reason is not None:
        pytest.skip(f"no eBPF on this machine: {reason.why.value} {reason.words}")
    if shutil.which("gcc") is None:
        pytest.skip("no gcc to compile the stand-in libraries with")
    if not in_first_pid_namespace():
        pytest.skip("pids of this namespace are not those that the kernel's programs see")
    folder = tmp_path_factory.mktemp("stand-in")
    return Libraries(
        compiled(folder, source="cuda.c", name="libcuda.so.1"),
        compiled(folder, source="nccl.c", name="libnccl.so.2"),
    )


Following = Callable[..., Worker]


@pytest.fixture
def probes(libraries: Libraries) -> Iterator[Probes]:
    """Everything loaded, attached to nothing but the kernel."""
    started = Probes.start(SETTINGS)
    assert isinstance(started, Probes), started
    yield started
    assert started.close() == 0


@pytest.fixture(scope="module")
def counting(libraries: Libraries) -> Iterator[Probes]:
    """Everything loaded and attached to both stand-ins; shared, since taking links away is slow."""
    started = Probes.start(
        SETTINGS.model_copy(update={"libraries": tuple(map(str, paths(libraries)))})
    )
    assert isinstance(started, Probes), started
    yield started
    assert started.close() == 0


@pytest.fixture
def worker(libraries: Libraries) -> Iterator[Worker]:
    """A process with both libraries loaded."""
    with Worker(*paths(libraries)) as started:
        yield started


def paths(libraries: Libraries) -> tuple[Path, Path]:
    return libraries.cuda, libraries.nccl


def found(worker: Worker, *files: Path) -> Process:
    """The worker as a scan would find it, if it had these files mapped."""
    mapped: list[MappedLibrary] = [x for file in files if (x := library_at(str(file))) is not None]
    return Process(worker.pid, started_at(worker.pid) or 0, "worker", tuple(mapped))
