"""The kernel programs on a real GPU: bytes outstanding against the load's own count, cost per call.

    python3 -m benchmarks.ebpf_h200 [RESULT.json] [--xid] [--libcuda PATH]

Needs root, BTF, libbpf.so.1 and a GPU; where one is missing the result says which. Two processes
run the same load through the driver API: one began before the programs were attached and is found
by what it has mapped, one afterwards. `--xid` also lets a kernel write where it may not (Xid 31, a
fault of the application) and waits for the driver's tracepoint. `--load` makes this file the load.
"""

import argparse
import ctypes as c
import json
import platform
import random
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from collectors.ebpf.availability import Reason
from collectors.ebpf.layout import XID
from collectors.ebpf.probes import Probes
from collectors.ebpf.processes import printable, processes
from fleetmend.settings.ebpf import EbpfSettings

MIB = 1 << 20
TIMED = 2000
"""Allocations and frees in a timed loop."""
WALK = 600
"""Steps of the seeded walk."""
XID_WAIT_S = 5.0
PTX = b""".version 7.0
.target sm_70
.address_size 64
.visible .entry wild() {
  .reg .u64 %place; .reg .u32 %word;
  mov.u64 %place, 16; mov.u32 %word, 1;
  st.global.u32 [%place], %word;
  ret;
}
\0"""


class Cuda:
    """The driver API, as far as the load needs it."""

    def __init__(self, name: str) -> None:
        self._dll = c.CDLL(name)
        self.ok("cuInit", 0)
        context = c.c_void_p()
        self.ok("cuCtxCreate_v2", c.byref(context), 0, 0)

    def __call__(self, function: str, *arguments: Any) -> int:
        return int(getattr(self._dll, function)(*arguments))

    def ok(self, function: str, *arguments: Any) -> None:
        code = self(function, *arguments)
        if code:
            raise SystemExit(f"{function} gave {code}")

    def out(self, function: str, *arguments: Any) -> int:
        place = c.c_uint64()
        self.ok(function, c.byref(place), *arguments)
        return place.value


def properties() -> Any:
    """Of cuMemCreate: pinned, no sharing, device 0."""
    return c.byref((c.c_int * 16)(1, 0, 1, 0))


WAYS: Mapping[str, tuple[tuple[Any, ...], str, tuple[Any, ...]]] = {
    "cuMemAlloc_v2": ((), "cuMemFree_v2", ()),
    "cuMemAllocAsync": ((None,), "cuMemFreeAsync", (None,)),
    "cuMemAllocManaged": ((c.c_uint(1),), "cuMemFree_v2", ()),
    "cuMemCreate": ((properties(), c.c_uint64(0)), "cuMemRelease", ()),
}
_STEP = {"cuMemCreate": 2 * MIB}
"""Sizes by handle are multiples of the driver's granularity; the others may be anything."""


def walk(cuda: Cuda) -> dict[str, int]:
    """Allocate and free by every way in a seeded order; the load's own count."""
    chance, held = random.Random(11), list[tuple[str, int, int]]()
    told = {"allocated_bytes": 0, "freed_bytes": 0, "failures": 0, "waits": 0}
    for _ in range(WALK):
        if held and chance.random() < 0.45:
            way, address, size = held.pop(chance.randrange(len(held)))
            cuda.ok(WAYS[way][1], c.c_uint64(address), *WAYS[way][2])
            told["freed_bytes"] += size
        else:
            way = chance.choice(list(WAYS))
            size = chance.randrange(1, 4 * MIB)
            size = -(-size // _STEP[way]) * _STEP[way] if way in _STEP else size
            address = cuda.out(way, c.c_size_t(size), *WAYS[way][0])
            held.append((way, address, size))
            told["allocated_bytes"] += size
    refused = c.c_uint64()
    for _ in range(3):
        code = cuda("cuMemAlloc_v2", c.byref(refused), c.c_size_t(4 << 40))
        told["failures"] += code != 0
    for _ in range(10):
        cuda.ok("cuCtxSynchronize")
        told["waits"] += 1
    return told | {"outstanding": sum(size for *_, size in held)}


def timed(cuda: Cuda) -> dict[str, float]:
    """Mean time of an allocation with its free, and of a synchronisation with nothing to wait
    for."""
    started = time.perf_counter_ns()
    for _ in range(TIMED):
        cuda.ok("cuMemFree_v2", c.c_uint64(cuda.out("cuMemAlloc_v2", c.c_size_t(MIB))))
    pair_ns = (time.perf_counter_ns() - started) / TIMED
    started = time.perf_counter_ns()
    for _ in range(TIMED):
        cuda("cuCtxSynchronize")
    return {
        "alloc_and_free_us": pair_ns / 1e3,
        "synchronise_us": (time.perf_counter_ns() - started) / TIMED / 1e3,
    }


def wild(cuda: Cuda) -> dict[str, int]:
    """A kernel that writes to address 16; the code that its synchronisation gives."""
    module, kernel = c.c_void_p(), c.c_void_p()
    cuda.ok("cuModuleLoadData", c.byref(module), PTX)
    cuda.ok("cuModuleGetFunction", c.byref(kernel), module, b"wild")
    cuda.ok("cuLaunchKernel", kernel, 1, 1, 1, 1, 1, 1, 0, None, None, None)
    return {"code": cuda("cuCtxSynchronize")}


def load(libcuda: str) -> None:
    """The load's side: a word a line in, a JSON line out."""
    cuda = Cuda(libcuda)
    does = {"timed": timed, "walk": walk, "wild": wild}
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        print(json.dumps(does[line.strip()](cuda)), flush=True)


class Load:
    """A process that runs the load."""

    def __init__(self, libcuda: str) -> None:
        command = [sys.executable, "-m", "benchmarks.ebpf_h200", "--load", "--libcuda", libcuda]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("no pipes to the load")
        self._words, self._answers = self._process.stdin, self._process.stdout
        self.pid = self._process.pid
        self._answer()

    def __call__(self, word: str) -> Any:
        self._words.write(word + "\n")
        self._words.flush()
        return self._answer()

    def _answer(self) -> Any:
        line = self._answers.readline()
        return json.loads(line) if line else {"ended": self._process.wait()}

    def end(self) -> None:
        self._process.communicate()


def counted(probes: Probes, pid: int) -> dict[str, int]:
    """What the programs counted of a process, its devices together."""
    uses = [use for use in probes.snapshot().uses if use.pid == pid]
    names = {name for use in uses for name in use.counts}
    return {name: sum(use.counts[name] for use in uses) for name in sorted(names)}


def compared(probes: Probes, run: Load) -> dict[str, Any]:
    """One walk of a load, by its own count and by the programs'."""
    before = counted(probes, run.pid)
    own = run("walk")
    after = counted(probes, run.pid)
    seen = {name: after.get(name, 0) - before.get(name, 0) for name in own}
    return {"own": own, "counted": seen, "exact": own == seen, "whole": after} | {
        "devices": sorted(use.device for use in probes.snapshot().uses if use.pid == run.pid)
    }


def xid(probes: Probes, libcuda: str) -> dict[str, Any]:
    """What the tracepoint told of a fault that a load of its own made."""
    probes.records()
    run = Load(libcuda)
    result = run("wild")
    reports: list[dict[str, Any]] = []
    until_s = time.monotonic() + XID_WAIT_S
    while not reports and time.monotonic() < until_s:
        time.sleep(0.05)
        reports = [
            {"xid": r.code, "pci": printable(r.name), "text": printable(r.text, 200)}
            for r in probes.records()
            if r.kind == XID
        ]
    run.end()
    return {"attached": probes.tells_xids, "load": result, "reports": reports}


def measured(libcuda: str, *, with_xid: bool) -> dict[str, Any]:
    """The whole run."""
    early = Load(libcuda)
    bare = early("timed")
    started = time.perf_counter()
    probes = Probes.start(EbpfSettings())
    loaded_s = time.perf_counter() - started
    if isinstance(probes, Reason):
        early.end()
        return {"available": False, "reason": probes.why.value, "words": probes.words}
    started = time.perf_counter()
    probes.follow(processes())
    attached_s = time.perf_counter() - started
    state = probes.state
    result: dict[str, Any] = {
        "available": True,
        "load_ms": loaded_s * 1e3,
        "find_and_attach_ms": attached_s * 1e3,
        "groups": list(state.groups),
        "refused": state.refused,
        "absent": list(state.absent),
        "functions_absent": state.functions_absent,
        "cost": {"bare": bare, "probed": early("timed")},
        "began_before": compared(probes, early),
    }
    late = Load(libcuda)
    result["began_after"] = compared(probes, late)
    started = time.perf_counter()
    probes.snapshot()
    result["read_ms"] = (time.perf_counter() - started) * 1e3
    if with_xid:
        result["xid"] = xid(probes, libcuda)
    late.end()
    early.end()
    started = time.perf_counter()
    result["links_left"] = probes.close()
    result["detach_s"] = time.perf_counter() - started
    return result


def main() -> None:
    """Run, print, and write the result where it is wanted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("result", nargs="?", type=Path)
    parser.add_argument("--libcuda", default="libcuda.so.1")
    parser.add_argument("--xid", action="store_true")
    parser.add_argument("--load", action="store_true")
    given = parser.parse_args()
    if given.load:
        load(given.libcuda)
        return
    result = {
        "benchmark": "ebpf_h200",
        "machine": {"kernel": platform.release(), "python": platform.python_version()},
        **measured(given.libcuda, with_xid=given.xid),
    }
    text = json.dumps(result, indent=1)
    print(text)
    if given.result is not None:
        given.result.write_text(text + "\n")


if __name__ == "__main__":
    main()
