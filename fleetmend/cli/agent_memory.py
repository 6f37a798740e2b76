"""Keeping the agent's memory, threads and pauses small: `before_imports` first of all, `stay_small`
once the agent is made, `give_back` now and then. Called by the command line and the heartbeat;
imports nothing that is large."""

import ctypes
import gc
import os

_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's malloc.h."""
_ARENAS = 2
_YOUNG = 10_000
"""Objects made before the youngest are looked at: a round of eight GPUs makes some hundreds that
last, and none of them in a circle."""


_ONE_THREAD = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS")
"""Read by numpy's linear algebra, whichever it was built with, when it is loaded."""


def before_imports() -> None:
    """Before numpy is imported: its linear algebra would start a thread for each core, each with
    memory of its own, and an agent has no use for it. What is set already stays."""
    for name in _ONE_THREAD:
        os.environ.setdefault(name, "1")


def give_back() -> None:
    """What was freed and lies between what is held goes back to the kernel, some milliseconds of
    work: loading the programs takes 10 MB for a moment, which else stay resident for good."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "malloc_trim"):
        allocator.malloc_trim(0)


def stay_small() -> None:
    """One thread allocates at a time under Python's lock, yet glibc gives up to eight arenas a core
    to threads, each with its own gaps. What was made until now lasts as long as the process: it
    need not be looked at again by the collector of circles."""
    allocator = ctypes.CDLL(None)
    if hasattr(allocator, "mallopt"):  # musl has none, and no arenas
        allocator.mallopt(_ARENA_MAX, _ARENAS)
    gc.collect()
    gc.freeze()
    gc.set_threshold(_YOUNG, 20, 50)
