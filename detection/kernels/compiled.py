"""Compiling the kernels, ahead of the first tick.

Every kernel states its types, so it is compiled (or read from the cache beside its source) when its
module is imported: a process that detects is slow to start once, and no tick ever waits. Numba
keeps machine code for this very processor; another one, or a folder that cannot be written, means
compiling again, which is said in the log.
"""

import logging
from collections.abc import Callable
from typing import Any, TypeVar

import numba

Kernel = TypeVar("Kernel", bound=Callable[..., None])

_LOGGER = logging.getLogger(__name__)


def compiled(*types: Any) -> Callable[[Kernel], Kernel]:
    """Compile a function of these argument types that returns nothing and writes into its
    arguments. One thread; the order of floating-point operations is kept, so that the same input
    gives the same bits."""

    def make(function: Kernel) -> Kernel:
        signature = numba.void(*types)
        try:
            made = numba.njit(signature, cache=True, error_model="numpy")(function)
        except RuntimeError as error:
            if "no locator" not in str(error):
                raise
            # Neither the package's folder nor the user's can be written.
            made = numba.njit(signature, error_model="numpy")(function)
        if not made.stats.cache_hits:
            _LOGGER.info("kernel compiled", extra={"kernel": function.__name__})
        kernel: Kernel = made
        return kernel

    return make
