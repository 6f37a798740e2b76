"""How often one address may do something. Called by the guard of every request and by the login."""

from collections import OrderedDict, deque

from fleetmend.clock import Clock

_WINDOW_S = 60.0
_ADDRESSES_MAX = 4096


class RateLimit:
    """At most `per_min` times in any 60 s per address; the least recent addresses are forgotten."""

    def __init__(self, per_min: int, clock: Clock) -> None:
        self._per_min = per_min
        self._clock = clock
        self._times: OrderedDict[str, deque[float]] = OrderedDict()

    def admit(self, address: str) -> float:
        """Count one use; 0 when it is admitted, else the seconds to wait."""
        now_s = self._clock.monotonic_s()
        times = self._times.setdefault(address, deque())
        self._times.move_to_end(address)
        if len(self._times) > _ADDRESSES_MAX:
            self._times.popitem(last=False)
        while times and now_s - times[0] >= _WINDOW_S:
            times.popleft()
        if len(times) >= self._per_min:
            return _WINDOW_S - (now_s - times[0])
        times.append(now_s)
        return 0.0
