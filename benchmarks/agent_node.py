"""A node for the benchmark of the agent: eight GPUs, a kubelet, engines and a broker, all of them
stand-ins but the kernel and the broker. `benchmarks.agent` runs the agent on it as a process."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.machine import ROOT
from collectors.ebpf.availability import hindrance, object_path
from deploy.parts.kafka import KafkaBroker
from tests.contract.agent.kubelet import FakeKubelet, pod, served
from tests.contract.ebpf.stand_in import Worker, compiled

SOURCE = ROOT / "tests" / "contract" / "agent" / "standin.c"
NODE_GPUS = 8
PROCESSES = 2
"""Processes on each GPU, as the stand-in driver tells."""
HELD_BYTES = 64 << 20
MAIN = "from fleetmend.cli import main; main()"


@dataclass(frozen=True, slots=True)
class Node:
    """Where the agent finds what it reads."""

    folder: Path
    bootstrap: str
    nvml: Path
    cuda: Path
    ebpf: str
    """`available`, or why not."""


def nvml_library(folder: Path) -> Path:
    """The stand-in for the driver's library."""
    path = folder / "libnvidia-ml.so.1"
    name = "-Wl,-soname,libnvidia-ml.so.1"
    command = ["gcc", "-shared", "-fPIC", "-O2", name, "-o", str(path), str(SOURCE)]
    subprocess.run(command, check=True)
    return path


@contextmanager
def node(folder: Path) -> Iterator[Node]:
    """A node with one engine of one process for each GPU, each in a communicator of eight."""
    reason = hindrance(path=object_path())
    cuda = compiled(folder, source="cuda.c", name="libcuda.so.1")
    nccl = compiled(folder, source="nccl.c", name="libnccl.so.2")
    kubelet = FakeKubelet()
    kubelet.answer = b"".join(
        pod("inference", f"engine-{n}", [f"GPU-0000000{n}"]) for n in range(NODE_GPUS)
    )
    with ExitStack() as held:
        broker = KafkaBroker(folder / "kafka")
        held.callback(broker.stop)
        held.enter_context(served(kubelet, folder / "kubelet.sock"))
        for rank in range(NODE_GPUS):
            worker = held.enter_context(Worker(cuda, nccl))
            worker.out("cuMemAlloc_v2", "out", HELD_BYTES)
            worker.out("ncclCommInitRank", "out", NODE_GPUS, "identity", rank)
        why = "available" if reason is None else f"{reason.why.value} {reason.words}"
        yield Node(folder, broker.bootstrap, nvml_library(folder), cuda, why)


def agent(at: Node) -> subprocess.Popen[bytes]:
    """The agent as a process, with the settings of a node that has everything."""
    config = at.folder / "agent.toml"
    config.write_text(
        f"""\
cluster = "benchmark"
[streams]
engine = "kafka"
bootstrap = "{at.bootstrap}"
[health]
port = 0
[agent]
node = "node-0"
[agent.nvml]
library = "{at.nvml}"
[agent.pods]
socket = "{at.folder / "kubelet.sock"}"
[agent.ebpf]
libraries = ["{at.cuda}"]
[agent.spool]
path = "{at.folder / "spool"}"
"""
    )
    count = {"STANDIN_GPUS": str(NODE_GPUS), "STANDIN_PROCESSES": str(PROCESSES)}
    with (at.folder / "agent.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-c", MAIN, "agent", "--config", str(config)],
            cwd=ROOT,
            env=os.environ | count,
            stdout=log,
            stderr=log,
        )
