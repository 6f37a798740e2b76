"""The canary probe of all replicas: one loop of tasks, one request at a time for each replica.

The composition root runs one in the role `collector`. The time of a record is the end of its
request, unlike a scrape's: a hang is only known then, and a mark held back until then would hold
every tick of the fleet.
"""

import asyncio
import logging
import random
import threading
from pathlib import Path

import httpx

from collectors.announce import observed
from collectors.probe.load import Loads
from collectors.probe.references import References
from collectors.probe.replica import Golden, Replica
from collectors.probe.report import held_event, mismatch_event, probe_event, samples
from collectors.probe.request import Answer, Ask, open_client
from collectors.promise import Promise
from collectors.sink import Sink
from fleetmend.clock import Clock
from fleetmend.settings.probe import ProbeSettings

logger = logging.getLogger(__name__)

_MARK_S = 0.2
"""Least event time between two marks."""
_NAP_S = 0.1
"""Longest wait between two looks at the stop signal, and at who is due."""
_SAVE_S = 60.0
"""Seconds between two writings of the counts; what is newly learnt is written at once."""

Task = asyncio.Task[Answer]


class ProbeCollector:
    """Asks the replicas of the settings."""

    def __init__(
        self,
        settings: ProbeSettings,
        *,
        cluster: str,
        sink: Sink,
        clock: Clock,
        rng: random.Random,
        loads: Loads,
        references: References | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """`rng` varies the pauses; `references`: others than those in the file of the settings;
        `transport`: another way than the network. Raises BadInput when the file is broken."""
        self._settings = settings
        self._cluster = cluster
        self._sink = sink
        self._clock = clock
        self._loads = loads
        self._references = references or References(Path(settings.golden.path))
        self._transport = transport
        self._replicas = [
            Replica(
                replica,
                settings,
                cluster=cluster,
                clock=clock,
                rng=rng,
                references=self._references,
            )
            for replica in settings.replicas
        ]
        self._promise = Promise(clock, cluster=cluster, name="probe", tell=sink.event)
        self._saved_s = clock.monotonic_s()
        self._unsaved = False

    def run(self, stop: threading.Event) -> None:
        """Ask until `stop` is set. Raises StreamError when the sink does; the next run goes on
        where this one ended."""
        asyncio.run(self.ask_all(stop))

    async def ask_all(self, stop: threading.Event) -> None:
        """The same, in the event loop that is running."""
        subjects = (replica.subject for replica in self._replicas)
        for change in observed(self._cluster, "probe", subjects, self._clock.now_s()):
            self._sink.topology(change)
        under_way: dict[Task, tuple[Replica, Ask]] = {}
        async with open_client(self._transport) as client:
            try:
                while not stop.is_set():
                    self._start(client, under_way)
                    self._mark()
                    if not under_way:
                        await asyncio.sleep(_NAP_S)
                        continue
                    done, _ = await asyncio.wait(
                        under_way, timeout=_NAP_S, return_when=asyncio.FIRST_COMPLETED
                    )
                    for task in done:
                        self._take(*under_way.pop(task), task.result())
            finally:
                for task in under_way:
                    task.cancel()
                await asyncio.gather(*under_way, return_exceptions=True)
                self._save()

    def _start(self, client: httpx.AsyncClient, under_way: dict[Task, tuple[Replica, Ask]]) -> None:
        """Ask whoever is due, as far as there is room; who has waited longest comes first."""
        now_s, at_s = self._clock.monotonic_s(), self._clock.now_s()
        asked = {replica.subject for replica, _ in under_way.values()}
        due = [each for each in self._replicas if each.due_s <= now_s]
        for replica in sorted(due, key=lambda each: each.due_s):
            if len(under_way) >= self._settings.in_flight_max:
                return
            if replica.subject in asked:
                continue
            held = replica.held
            load = self._loads.of(replica.subject, now_s=at_s, fresh_s=self._settings.load_fresh_s)
            ask = replica.next(now_s, load)
            if ask is not None:
                under_way[asyncio.create_task(replica.asker.ask(client, ask))] = replica, ask
            elif not held:
                self._sink.event(held_event(replica, at_s))

    def _take(self, replica: Replica, ask: Ask, answer: Answer) -> None:
        golden = replica.took(ask, answer, self._clock.monotonic_s())
        at_s = self._promise.now_s()
        self._sink.event(probe_event(replica, ask, answer, golden, at_s))
        if golden is not None:
            self._keep(golden)
            if golden.told:
                self._sink.event(mismatch_event(replica, golden, answer, at_s))
        batch = samples(replica, answer, golden, at_s)
        self._sink.samples(batch, replica.settings.node or replica.settings.engine)

    def _keep(self, golden: Golden) -> None:
        self._unsaved = True
        learnt = golden.memory.reference is not None and golden.memory.checked == 0
        if learnt or self._clock.monotonic_s() - self._saved_s >= _SAVE_S:
            self._save()

    def _save(self) -> None:
        """Write the references; a disk that is full must not end the probe."""
        if not self._unsaved:
            return
        self._saved_s = self._clock.monotonic_s()
        try:
            self._references.save()
            self._unsaved = False
        except OSError as error:
            logger.warning("golden references are not kept: %s", error)

    def _mark(self) -> None:
        at_s = self._promise.now_s()
        if at_s - self._promise.marked_s >= _MARK_S:
            self._promise.marked_s = at_s
            self._sink.mark(at_s)
