"""A load on a GPU that keeps its own count, in a process of its own: by the driver's API alone, so
nothing is needed that a machine with a driver lacks. `benchmarks.h200` runs it.

    python3 -m benchmarks.cuda_load [--libcuda PATH]

reads a word a line (`walk`, `timed`, `wild`, `burn <seconds>`) and answers with a line of JSON.
"""

import argparse
import ctypes as c
import json
import random
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

MIB = 1 << 20
BLOCKS, LAUNCHES = 132 * 16, 20
COPIED = 256 * MIB
TIMED = 2000
"""Allocations and frees in a timed loop."""
WALK = 600
"""Steps of the seeded walk."""
BURN = b""".version 7.0
.target sm_70
.address_size 64
.visible .entry burn(.param .u64 out) {
  .reg .u64 %place; .reg .f32 %x; .reg .f32 %y; .reg .u32 %i; .reg .pred %more;
  ld.param.u64 %place, [out];
  mov.f32 %x, 0f3F800001; mov.f32 %y, 0f3F7FFFFF; mov.u32 %i, 20000;
again:
  fma.rn.f32 %x, %x, %y, %y; fma.rn.f32 %y, %y, %x, %x;
  fma.rn.f32 %x, %x, %y, %y; fma.rn.f32 %y, %y, %x, %x;
  sub.u32 %i, %i, 1;
  setp.ne.u32 %more, %i, 0;
  @%more bra again;
  st.global.f32 [%place], %x;
  ret;
}
\0"""
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


def burn(cuda: Cuda, seconds: float) -> dict[str, float]:
    """Multiply and add on every processor, and copy between host and device in turns, for so long;
    how much of it."""
    module, kernel = c.c_void_p(), c.c_void_p()
    cuda.ok("cuModuleLoadData", c.byref(module), BURN)
    cuda.ok("cuModuleGetFunction", c.byref(kernel), module, b"burn")
    size = COPIED
    device, host = cuda.out("cuMemAlloc_v2", c.c_size_t(size)), c.create_string_buffer(size)
    target = c.c_uint64(device)
    arguments = (c.c_void_p * 1)(c.cast(c.byref(target), c.c_void_p))
    launches = copies = 0
    until_s = time.monotonic() + seconds
    while time.monotonic() < until_s:
        for _ in range(LAUNCHES):
            cuda.ok("cuLaunchKernel", kernel, BLOCKS, 1, 1, 256, 1, 1, 0, None, arguments, None)
        cuda.ok("cuCtxSynchronize")
        cuda.ok("cuMemcpyHtoD_v2", target, host, c.c_size_t(size))
        cuda.ok("cuMemcpyDtoH_v2", host, target, c.c_size_t(size))
        launches, copies = launches + LAUNCHES, copies + 2
    cuda.ok("cuMemFree_v2", target)
    return {"launches": launches, "copied_bytes": copies * size, "seconds": seconds}


def main() -> None:
    """Do what the words say until there are no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--libcuda", default="libcuda.so.1")
    cuda = Cuda(parser.parse_args().libcuda)
    does: dict[str, Callable[..., Any]] = {
        "timed": timed,
        "walk": walk,
        "wild": wild,
        "burn": burn,
    }
    print(json.dumps("ready"), flush=True)
    for line in sys.stdin:
        word, *numbers = line.split()
        print(json.dumps(does[word](cuda, *map(float, numbers))), flush=True)


class Load:
    """A process that runs the load."""

    def __init__(self, libcuda: str) -> None:
        command = [sys.executable, "-m", "benchmarks.cuda_load", "--libcuda", libcuda]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        if self._process.stdin is None or self._process.stdout is None:
            raise SystemExit("no pipes to the load")
        self._words, self._answers = self._process.stdin, self._process.stdout
        self.pid = self._process.pid
        self.answer()

    def __call__(self, *words: str | float) -> Any:
        self.begin(*words)
        return self.answer()

    def begin(self, *words: str | float) -> None:
        """Say what to do, and do not wait for it."""
        self._words.write(" ".join(map(str, words)) + "\n")
        self._words.flush()

    def answer(self) -> Any:
        """What it says next."""
        line = self._answers.readline()
        return json.loads(line) if line else {"ended": self._process.wait()}

    def end(self) -> None:
        """No more words: the process ends."""
        self._process.communicate()


if __name__ == "__main__":
    main()
