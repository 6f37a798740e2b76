"""Scraping: every target in its own interval, by one pool of threads, into one sink.

The composition root runs one of these in the role `collector`. Threads only fetch and read; the
sink is used by the one thread that polls.
"""

import threading
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from collectors.announce import observed, targets_topology
from collectors.fetch import Fetcher
from collectors.naming import Resolve
from collectors.sink import Sink
from collectors.target import Scrape, Target, engines_by_pod
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.settings.collectors import CollectorsSettings
from fleetmend.signals.catalogue import Catalogue, catalogue

_MARK_S = 0.2
"""Least event time between two marks."""
_GRACE_S = 1.0
"""Seconds that a scrape may take beyond its time before its connection is cut."""
_NAP_S = 0.25
"""Longest sleep between two looks at the stop signal."""


class PrometheusCollector:
    """Scrapes the targets of the settings."""

    def __init__(
        self,
        settings: CollectorsSettings,
        *,
        cluster: str,
        sink: Sink,
        clock: Clock,
        dead_letters: DeadLetters,
        name: str = "prometheus",
        resolve: Resolve | None = None,
        signals: Catalogue | None = None,
        fetcher: Fetcher | None = None,
        executor: Executor | None = None,
    ) -> None:
        """`resolve`: finds engines that the settings do not name by their pod's alias. `fetcher`,
        `executor`: others than the network and a pool of threads."""
        self._settings = settings
        self._cluster = cluster
        self._name = name
        self._sink = sink
        self._clock = clock
        self._dead_letters = dead_letters
        self._fetcher = fetcher or Fetcher(clock, body_bytes_max=settings.body_bytes_max)
        self._executor = executor or ThreadPoolExecutor(settings.workers, "scrape")
        engines = engines_by_pod(cluster, settings.targets)

        def engine_of(alias: str) -> EntityId | None:
            return engines.get(alias) or (resolve(alias) if resolve is not None else None)

        self._targets = [
            Target(
                target,
                settings,
                cluster=cluster,
                catalogue=signals or catalogue(),
                resolve=engine_of,
            )
            for target in settings.targets
        ]
        self._due_s = [clock.monotonic_s()] * len(self._targets)
        self._running: dict[Future[Scrape], tuple[int, float]] = {}
        """Scrapes under way: which target, and the event time they will carry."""
        self._marked_s = float("-inf")
        self._wake = threading.Event()

    def announce(self) -> None:
        """State what is scraped, and what the settings say of it."""
        at_s = self._clock.now_s()
        changes = observed(
            self._cluster, self._name, (target.subject for target in self._targets), at_s
        )
        if self._settings.states_topology:
            changes += targets_topology(self._cluster, self._settings.targets, at_s)
        for change in changes:
            self._sink.topology(change)

    def run(self, stop: threading.Event) -> None:
        """Scrape until `stop` is set. Raises StreamError when the sink does; the next run goes
        on where this one ended."""
        self.announce()
        while not stop.is_set():
            self._wake.clear()
            delay_s = self.poll()
            self._clock.wait(self._wake, min(delay_s, _NAP_S))
        self._executor.shutdown(wait=True, cancel_futures=True)
        self._fetcher.close()

    def poll(self) -> float:
        """Hand over what is done, start what is due, mark; seconds until something is due."""
        for future in [future for future in self._running if future.done()]:
            index, _ = self._running.pop(future)
            self._hand_over(future.result())
            # From now, not from when it was due: a slow target must not be asked twice at once.
            pause_s = self._targets[index].pause_s
            now_s = self._clock.monotonic_s()
            self._due_s[index] = max(self._due_s[index] + pause_s, now_s)
        # A clock set back must not break the promise of the last mark.
        at_s = max(self._clock.now_s(), self._marked_s)
        monotonic_s = self._clock.monotonic_s()
        busy = {index for index, _ in self._running.values()}
        for index, target in enumerate(self._targets):
            if index not in busy and self._due_s[index] <= monotonic_s:
                self._due_s[index] = monotonic_s
                future = self._executor.submit(target.scrape, self._fetcher, at_s)
                self._running[future] = (index, at_s)
                future.add_done_callback(lambda _: self._wake.set())
        for future, (index, _) in self._running.items():
            target = self._targets[index]
            late_s = monotonic_s - self._due_s[index] - target.settings.timeout_s
            if late_s > _GRACE_S and future.running():
                self._fetcher.abort(target.settings.url)
        self._mark(min((begun_s for _, begun_s in self._running.values()), default=at_s))
        busy = {index for index, _ in self._running.values()}
        waiting = (due_s for index, due_s in enumerate(self._due_s) if index not in busy)
        return max(0.0, min(waiting, default=monotonic_s + _NAP_S) - monotonic_s)

    def _hand_over(self, scrape: Scrape) -> None:
        for change in scrape.changes:
            self._sink.topology(change)
        if scrape.event is not None:
            self._sink.event(scrape.event)
        self._sink.samples(scrape.batch, scrape.node)
        for letter in scrape.letters:
            self._dead_letters.put(letter)

    def _mark(self, at_s: float) -> None:
        if at_s - self._marked_s >= _MARK_S:
            self._marked_s = at_s
            self._sink.mark(at_s)
