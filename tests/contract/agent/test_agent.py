"""The whole agent on a stand-in for the driver: with a log, without one, without anything else."""

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from collectors.ebpf.collector import Start
from collectors.ebpf.probes import Probes
from collectors.nvml.library import NvmlLibrary
from collectors.nvml.port import GpuReader
from fleetmend.cli.agent import AgentParts, make, run
from fleetmend.clock import SystemClock
from fleetmend.errors import StreamError
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.settings import Settings, load_settings
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Log, Payload
from fleetmend.streams.topics import Topic

ROOT = Path(__file__).parents[3]
WAIT_S = 20.0
KMSG = "6,{number},{micros},-;NVRM: Xid (PCI:0000:30:00): {xid}, pid=12, name=python, made up\n"


def settings(folder: Path, **flags: Any) -> Settings:
    log = folder / "kmsg"
    log.touch()
    set_here = {
        "cluster": "c",
        "streams.path": str(folder / "log.db"),
        "agent.node": "n1",
        "agent.spool.path": str(folder / "spool"),
        "agent.kernel_log": str(log),
        "agent.pods.socket": "",
        "agent.ebpf.enabled": False,
        "agent.nvml.send_s": 1.0,
    }
    return load_settings(
        flags=set_here | {k.replace("__", "."): v for k, v in flags.items()}
    ).settings


def payloads(log: Log, topic: Topic) -> list[Payload]:
    """What has come as far as the log."""
    try:
        return [
            decode(raw).payload
            for place in log.partitions(topic)
            for raw in log.read({place: 0}, limit=100_000)
        ]
    except StreamError:
        return []


def marks(log: Log) -> list[Mark]:
    return [m for m in payloads(log, Topic.SAMPLES) if isinstance(m, Mark)]


def until(holds: Callable[[], bool]) -> None:
    clock = SystemClock()
    end_s = clock.monotonic_s() + WAIT_S
    while not holds():
        assert clock.monotonic_s() < end_s, "it never came"
        clock.sleep(0.05)


@contextmanager
def running(made: Settings, reader: GpuReader, start: Start = Probes.start) -> Iterator[AgentParts]:
    """An agent in a thread."""
    stop, parts = threading.Event(), make(made, SystemClock(), reader=reader, start=start)
    thread = threading.Thread(target=run, args=(parts, made, stop), daemon=True)
    thread.start()
    try:
        yield parts
    finally:
        stop.set()
        thread.join(WAIT_S)
    assert not thread.is_alive()


@pytest.fixture
def library(standin: Any, standin_path: Path) -> NvmlLibrary:
    return NvmlLibrary(str(standin_path))


def test_samples_marks_and_one_event_for_one_xid_reach_the_log(
    tmp_path: Path, library: NvmlLibrary, standin: Any
) -> None:
    # All that is there is waited for, however busy this machine is.
    with running(settings(tmp_path, agent__xid_hold_s=5.0), library) as parts:

        def events(kind: EventType) -> list[Event]:
            told = payloads(parts.spool, Topic.EVENTS)
            return [e for e in told if isinstance(e, Event) and e.type is kind]

        until(lambda: any(isinstance(s, SampleBatch) for s in payloads(parts.spool, Topic.SAMPLES)))
        micros = int(float(Path("/proc/uptime").read_text().split()[0]) * 1e6)
        with (tmp_path / "kmsg").open("a") as kmsg:
            kmsg.write(KMSG.format(number=7, micros=micros, xid=79))
        standin.standin_xid(0, 79)
        until(lambda: bool(events(EventType.XID)))
        standin.standin_xid(1, 31)
        until(lambda: len(events(EventType.XID)) > 1)
        xids, beats = events(EventType.XID), events(EventType.HEARTBEAT)
        until(lambda: bool(marks(parts.spool)))
        producers = {mark.producer for mark in marks(parts.spool)}

    both, one = sorted(xids, key=lambda event: str(event.data["witnesses"]))
    assert both.data["witnesses"] == "kernel_log nvml_event"
    assert (both.subject, both.data["process"]) == ("c/gpu/GPU-00000000", "python")
    assert (one.subject, one.data["witnesses"]) == ("c/gpu/GPU-00000001", "nvml_event")
    assert producers == {"collector/agent-n1"}
    assert any(event.source == "collector/agent-n1" for event in beats)


def test_an_agent_that_starts_before_its_log_loses_nothing(
    tmp_path: Path, library: NvmlLibrary
) -> None:
    blocked = tmp_path / "log.db"
    blocked.mkdir()  # no log can be opened here
    with running(settings(tmp_path, agent__spool__retry_s=0.1), library) as parts:
        until(lambda: bool(parts.spool.away))
        until(lambda: len(list((tmp_path / "spool").glob("samples-*.seg"))) > 0)
        blocked.rmdir()
        until(lambda: not parts.spool.away)
        until(lambda: bool(payloads(parts.spool, Topic.SAMPLES)))
        until(
            lambda: any(
                isinstance(batch, SampleBatch) and "gpu.temperature" in batch.signals
                for batch in payloads(parts.spool, Topic.SAMPLES)
            )
        )
        assert parts.spool.dropped == {"samples": 0, "events": 0}


def test_without_gpu_kernel_log_and_kubelet_it_says_so_and_lives(
    tmp_path: Path, standin: Any, library: NvmlLibrary
) -> None:
    standin.standin_init_code(9)
    missing = str(tmp_path / "none" / "kmsg")
    with running(settings(tmp_path, agent__kernel_log=missing), library) as parts:

        def told() -> dict[object, object]:
            events = payloads(parts.spool, Topic.EVENTS)
            return {
                e.data.get("target"): e.data.get("outcome") for e in events if isinstance(e, Event)
            }

        until(lambda: {"nvml", missing} <= set(told()))
        assert told()["nvml"] == "driver_absent"
        assert told()[missing] == "unreadable"


PLATFORM = {
    "sklearn",
    "scipy",
    "networkx",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "kubernetes",
    "fastapi",
    "uvicorn",
    "jinja2",
    "yaml",
    "cel",
    "grpc",
    "google",
}
"""Packages of the extra."""
UNUSED = {"pyarrow", "httpx"}
"""Packages of the base that an agent has no use for: each would cost it some 20 MB."""
WITHOUT = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {gone!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Absent())
from fleetmend.cli import main
sys.argv = ["fleetmend", "agent", *sys.argv[1:]]
main()
"""


@contextmanager
def as_a_process(folder: Path, *before: str) -> Iterator[subprocess.Popen[str]]:
    """`fleetmend agent` with a broker that is not there, after the words of a command that changes
    its rights. It must end well when it is told to."""
    environment = {
        "PATH": os.environ["PATH"],
        "FLEETMEND_STREAMS__ENGINE": "kafka",
        "FLEETMEND_STREAMS__BOOTSTRAP": "127.0.0.1:9",
        "FLEETMEND_AGENT__SPOOL__PATH": str(folder / "spool"),
        "FLEETMEND_AGENT__KERNEL_LOG": str(folder / "none"),
    }
    program = WITHOUT.format(gone=PLATFORM | UNUSED)
    with subprocess.Popen(
        [*before, sys.executable, "-c", program],
        cwd=ROOT,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    ) as agent:
        assert agent.stderr is not None
        first = agent.stderr.readline()
        yield agent
        agent.terminate()
        said = first + agent.stderr.read()
    assert agent.returncode == 0, said
    assert "agent of node" in first


def kept(folder: Path) -> bytes:
    """What lies in the spool's files of events."""
    return b"".join(file.read_bytes() for file in (folder / "spool").glob("events-*.seg"))


def test_the_agent_needs_nothing_of_the_platform(tmp_path: Path) -> None:
    """It is started with the packages of the extra taken away, and comes as far as its spool."""
    with as_a_process(tmp_path):
        until(lambda: b"collector/agent-" in kept(tmp_path))
        until(lambda: any((tmp_path / "spool").glob("samples-*.seg")))


def test_its_help_needs_nothing_of_the_platform_either() -> None:
    program = WITHOUT.format(gone=PLATFORM | UNUSED)
    done = subprocess.run(
        [sys.executable, "-c", program, "--help"], cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "Run the node agent" in done.stdout


def test_without_any_right_the_agent_runs_and_names_what_it_lacks(tmp_path: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("no setpriv to drop privileges with")
    drop = ("--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs")
    with as_a_process(tmp_path, "setpriv", *drop):
        until(lambda: b"no_privileges" in kept(tmp_path))
        until(lambda: b"unreadable" in kept(tmp_path))
        until(lambda: b"library_absent" in kept(tmp_path))
        told = kept(tmp_path)

    assert b"needs CAP_BPF and CAP_PERFMON, or root" in told
