"""When a message is tried again. Pure but for the chance that is given to it."""

import random
from collections.abc import Sequence


def next_wait_s(
    waits_s: Sequence[float],
    failures: int,
    *,
    retry_after_s: float | None,
    jitter: float,
    rng: random.Random,
) -> float | None:
    """Seconds until the next attempt after the `failures`-th failed; None when that was the last.

    The schedule's wait and up to `jitter` of it more, but never less than the receiver asked for.
    """
    if failures > len(waits_s):
        return None
    wait_s = waits_s[failures - 1] * (1.0 + jitter * rng.random())
    return max(wait_s, retry_after_s or 0.0)
