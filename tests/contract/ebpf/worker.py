"""A process that makes the driver calls it is told to, one JSON line each; see `stand_in.Worker`.

`["cuMemAlloc_v2", "out", 4096]` calls that function with a place for a result and a number, and
answers `[return code, the results]`. `["thread", ...]` does the same in a thread that nobody waits
for. `["outlive", name]` ends the main thread while one of that name goes on, which then ends the
process. Numbers are 64-bit; "out" is a place of eight bytes; "properties" are
those of cuMemCreate on device 1; "identity" is NCCL's unique id by value.
"""

import ctypes as c
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any

SYS_EXIT = 60
"""exit of one thread, x86-64."""


class Identity(c.Structure):
    _fields_ = (("words", c.c_uint64 * 16),)


def call(libraries: list[c.CDLL], name: str, *given: Any) -> list[Any]:
    library = next(x for x in libraries if hasattr(x, name))
    outs: list[c.c_uint64] = []
    arguments: list[Any] = []
    for value in given:
        if value == "out":
            outs.append(c.c_uint64())
            arguments.append(c.byref(outs[-1]))
        elif value == "properties":
            arguments.append(c.byref((c.c_int * 8)(1, 0, 1, 1)))
        elif value == "identity":
            arguments.append(Identity((c.c_uint64 * 16)(0xABCDEF)))
        else:
            arguments.append(c.c_uint64(value))
    return [getattr(library, name)(*arguments), [out.value for out in outs]]


def say(answer: Any) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


def outlive(name: str) -> None:
    """Name this thread, wait until the main one has ended, end the process."""
    Path(f"/proc/self/task/{threading.get_native_id()}/comm").write_text(name)
    main_thread = Path(f"/proc/self/task/{os.getpid()}/stat")
    while main_thread.read_text().rpartition(")")[2].split()[0] != "Z":
        os.sched_yield()
    os._exit(3)


def main() -> None:
    libraries = [c.CDLL(path) for path in sys.argv[1:]]
    say("ready")
    for line in sys.stdin:
        name, *given = json.loads(line)
        answer: Any = None
        if name == "thread":
            threading.Thread(target=call, args=(libraries, *given), daemon=True).start()
        elif name == "outlive":
            threading.Thread(target=outlive, args=given, daemon=True).start()
            c.CDLL(None).syscall(SYS_EXIT, 0)
        else:
            answer = call(libraries, name, *given)
        say(answer)


if __name__ == "__main__":
    main()
