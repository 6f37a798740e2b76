"""Scraping: every target in its own interval, into one sink.

The composition root runs one of these in the role `collector`. An event loop fetches, a pool of
threads reads, and the one thread that polls uses the sink: a target that hangs, and a page that is
huge, hold up nobody else: large pages are read by a thread of their own. Targets take their turns
over the interval, so that they do not all come at once. Where reading falls behind, scrapes begin
late, so that what is told stays fresh.
"""

import heapq
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import takewhile
from queue import Empty, SimpleQueue
from typing import TypeVar

from collectors.announce import observed, targets_topology
from collectors.connections import NetworkFetcher
from collectors.fetch import Fetched, Fetcher, Outcome
from collectors.naming import Resolve
from collectors.promise import Promise
from collectors.sink import Sink
from collectors.target import Scrape, Target, engines_by_pod
from fleetmend.clock import Clock
from fleetmend.model.entities import EntityId
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.settings.collectors import CollectorsSettings
from fleetmend.signals.catalogue import Catalogue, catalogue

_MARK_S = 0.2
"""Least event time between two marks."""
_HOLD_S = 1.0
"""Seconds that a mark waits for an answer: a target that hangs must not hold up the ticks of all.
What a later answer says gets the time of the newest mark, which lies within its scrape."""
_LARGE_BYTES = 1_048_576
"""Pages of more bytes do not stand in line with the others."""
_WAITING_MAX = 64
"""Pages that wait to be read at most, before scrapes begin late: some tens of milliseconds of
reading."""
_YOUNG_MAX = 128
"""Targets that are asked within a second and have not answered: more would only wait for their turn
in here. Those that hang for longer do not count, or they would keep others from being asked."""
_SHARE = 20
"""A target whose page takes long to read rests so many times as long: some that are written to be
hard to read must not take the time of all others."""
_REST_MAX_S = 30.0
"""And no longer than this: the first page of a large target takes longest."""
_NAP_S = 0.25
"""Longest sleep between two looks at the stop signal."""
_T = TypeVar("_T")


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
        cpu_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """`resolve`: finds engines that the settings do not name by their pod's alias. `fetcher`,
        `executor`: others than the network and a pool of threads. `cpu_s`: CPU seconds that the
        calling thread has used."""
        self._settings = settings
        self._cluster = cluster
        self._name = name
        self._sink = sink
        self._clock = clock
        self._dead_letters = dead_letters
        self._fetcher = fetcher or NetworkFetcher(
            clock, body_bytes_max=settings.body_bytes_max, held_bytes_max=settings.held_bytes_max
        )
        self._executor = executor or ThreadPoolExecutor(settings.workers, "scrape")
        self._for_large = executor or ThreadPoolExecutor(1, "scrape-large")
        self._cpu_s = cpu_s
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
        self._due = _turns(self._targets, clock.monotonic_s())
        """When each target that rests is due, soonest first, and its number."""
        self._fetching: dict[int, tuple[float, float, float]] = {}
        """Targets that are asked, longest first: event time of the asking, when it was due, and how
        late it was."""
        self._reading: dict[int, tuple[float, float, int]] = {}
        """Targets whose page is read: its event time, when it was due, and its bytes if large."""
        self._small = 0
        """Pages in the line of the small ones."""
        self._held = 0
        """Bytes in the line of the large ones."""
        self._fetched: SimpleQueue[tuple[int, Future[Fetched]]] = SimpleQueue()
        self._read: SimpleQueue[tuple[int, Future[tuple[Scrape, float]]]] = SimpleQueue()
        self._promise = Promise(clock, cluster=cluster, name=name, tell=sink.event)
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
        self._fetcher.close()
        for executor in (self._executor, self._for_large):
            executor.shutdown(wait=True, cancel_futures=True)

    def poll(self) -> float:
        """Hand over what is done, start what is due, mark; seconds until something is due."""
        self._take_fetched()
        self._take_read()
        at_s = self._promise.now_s()
        now_s = self._clock.monotonic_s()
        young = self._asked_since(at_s - _HOLD_S)
        while self._due and self._due[0][0] <= now_s and self._small < _WAITING_MAX:
            young += 1
            if young > _YOUNG_MAX:
                break
            due_s, index = heapq.heappop(self._due)
            self._fetching[index] = at_s, due_s, now_s - due_s
            of = self._targets[index].settings
            future = self._fetcher.begin(of.url, of.timeout_s, of.ca_file)
            future.add_done_callback(partial(self._note_fetched, index))
        self._mark(at_s)
        blocked = self._small >= _WAITING_MAX or young > _YOUNG_MAX
        return _NAP_S if blocked or not self._due else max(0.0, self._due[0][0] - now_s)

    def _asked_since(self, at_s: float) -> int:
        """Targets that were asked after `at_s` and have not answered."""
        newest = (begun_s for begun_s, _, _ in reversed(self._fetching.values()))
        return sum(1 for _ in takewhile(lambda begun_s: begun_s > at_s, newest))

    def _note_fetched(self, index: int, future: Future[Fetched]) -> None:
        self._fetched.put((index, future))
        self._wake.set()

    def _timed(self, read: Callable[[], Scrape]) -> tuple[Scrape, float]:
        begun_s = self._cpu_s()
        scrape = read()
        return scrape, self._cpu_s() - begun_s

    def _note_read(self, index: int, future: Future[tuple[Scrape, float]]) -> None:
        self._read.put((index, future))
        self._wake.set()

    def _take_fetched(self) -> None:
        """Have read what has been fetched."""
        while (done := _next(self._fetched)) is not None:
            index, future = done
            fetched = future.result()
            begun_s, due_s, late_s = self._fetching.pop(index)
            # What was asked before the clock was set back lies ahead of it.
            at_s = max(min(begun_s, self._promise.now_s()), self._promise.marked_s)
            large = max(len(fetched.body), self._targets[index].text_bytes)
            if large <= _LARGE_BYTES:
                large = 0
                self._small += 1
            elif self._held + large > self._settings.held_bytes_max:
                fetched, large = replace(fetched, outcome=Outcome.OVERSIZE, body=b""), 0
                self._small += 1
            self._held += large
            self._reading[index] = at_s, due_s, large
            read = partial(self._targets[index].read, fetched, at_s, late_s=late_s)
            executor = self._for_large if large else self._executor
            executor.submit(self._timed, read).add_done_callback(partial(self._note_read, index))

    def _take_read(self) -> None:
        """Hand over what has been read, and let its target rest."""
        while (done := _next(self._read)) is not None:
            index, future = done
            _, due_s, large = self._reading.pop(index)
            self._held -= large
            self._small -= not large
            failed = future.exception() is not None
            used_s = _REST_MAX_S if failed else future.result()[1]
            rest_s = min(_SHARE * used_s, _REST_MAX_S)
            # Not before now: a slow target must not be asked twice at once.
            next_s = max(due_s + self._targets[index].pause_s, self._clock.monotonic_s() + rest_s)
            heapq.heappush(self._due, (next_s, index))
            self._hand_over(future.result()[0])

    def _hand_over(self, scrape: Scrape) -> None:
        for change in scrape.changes:
            self._sink.topology(change)
        if scrape.event is not None:
            self._sink.event(scrape.event)
        self._sink.samples(scrape.batch, scrape.node)
        for letter in scrape.letters:
            self._dead_letters.put(letter)

    def _mark(self, at_s: float) -> None:
        if at_s - self._promise.marked_s < _MARK_S:
            return
        # The first was begun first: targets are asked in order of time.
        oldest_s = next((begun_s for begun_s, _, _ in self._fetching.values()), at_s)
        read_s = min((read_s for read_s, _, _ in self._reading.values()), default=at_s)
        promised_s = min(max(oldest_s, at_s - _HOLD_S), read_s, at_s)
        if promised_s - self._promise.marked_s >= _MARK_S:
            self._promise.marked_s = promised_s
            self._sink.mark(promised_s)


def _turns(targets: Sequence[Target], now_s: float) -> list[tuple[float, int]]:
    """When each target is due first: those of one interval are spread over it."""
    each = Counter(target.settings.interval_s for target in targets)
    seen: Counter[float] = Counter()
    due = []
    for index, target in enumerate(targets):
        interval_s = target.settings.interval_s
        due.append((now_s + interval_s * seen[interval_s] / each[interval_s], index))
        seen[interval_s] += 1
    heapq.heapify(due)
    return due


def _next(queue: "SimpleQueue[_T]") -> _T | None:
    try:
        return queue.get_nowait()
    except Empty:
        return None
