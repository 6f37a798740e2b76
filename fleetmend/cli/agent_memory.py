"""Keeping the agent's memory and its pauses small. `fleetmend agent` calls it once it is made."""

import ctypes
import gc

_ARENA_MAX = -8
"""M_ARENA_MAX of glibc's malloc.h."""
_ARENAS = 2
_YOUNG = 10_000
"""Objects made before the youngest are looked at: a round of eight GPUs makes some hundreds that
last, and none of them in a circle."""


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
