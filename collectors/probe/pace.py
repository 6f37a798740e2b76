"""When a replica is asked again. Pure but for the random numbers that it is given."""

import random

from fleetmend.settings.probe import ProbeSettings

_DOUBLINGS_MAX = 16


class Pace:
    """The pauses of one replica."""

    def __init__(self, settings: ProbeSettings, rng: random.Random) -> None:
        self._settings = settings
        self._rng = rng

    def first_s(self, interval_s: float) -> float:
        """Seconds before the first request: anywhere in an interval, so that a fleet of replicas
        is not asked at one moment."""
        return self._rng.uniform(0.0, interval_s)

    def after_s(self, failures: int, interval_s: float) -> float:
        """Seconds before the next request, after so many failures in a row."""
        settings = self._settings
        pause_s = interval_s
        if failures:
            doubled_s: float = settings.retry_s * 2.0 ** min(failures - 1, _DOUBLINGS_MAX)
            pause_s = min(doubled_s, settings.backoff_max_s)
        return pause_s * self._rng.uniform(1.0 - settings.jitter, 1.0 + settings.jitter)
