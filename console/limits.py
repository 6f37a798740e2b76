"""How often somebody may do something (changes by one person, wrong tokens from one address), and
how many live streams they may hold. Called by `console.context` and the stream."""

from collections import Counter, OrderedDict, deque
from collections.abc import Iterator
from contextlib import contextmanager

from fleetmend.clock import Clock

_WINDOW_S = 60.0
_KEYS_MAX = 4096


class RateLimit:
    """At most `per_min` times in any 60 s per key (a name, an address); the least recent keys are
    forgotten."""

    def __init__(self, per_min: int, clock: Clock) -> None:
        self._per_min = per_min
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, key: str) -> float:
        """Count one use; 0 when it is admitted, else the seconds to wait."""
        now_s = self._clock.monotonic_s()
        times = self._times.setdefault(key, deque())
        self._times.move_to_end(key)
        if len(self._times) > _KEYS_MAX:
            self._times.popitem(last=False)
        while times and now_s - times[0] >= _WINDOW_S:
            times.popleft()
        if len(times) >= self._per_min:
            return _WINDOW_S - (now_s - times[0])
        times.append(now_s)
        return 0.0


class Slots:
    """At most so many at once in all, and of one key."""

    def __init__(self, *, most: int, each: int) -> None:
        self._most = most
        self._each = each
        self._held: Counter[str] = Counter()

    def free(self, key: str) -> bool:
        """Whether one more may begin."""
        return self._held.total() < self._most and self._held[key] < self._each

    @contextmanager
    def held(self, key: str) -> Iterator[None]:
        """One is held as long as the block."""
        self._held[key] += 1
        try:
            yield
        finally:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
