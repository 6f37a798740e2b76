"""Everything that watches one engine, as the platform puts it together: scraper, canary probe,
followers of the engine's and the kernel's log, and detection, on one real log.

`watch` runs it in threads beside a live engine, `film` in event time over a recorded one.
"""

import random
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

import httpx

from collectors.engine_logs import engine_log
from collectors.fetch import Fetcher
from collectors.follow import LogFollower
from collectors.kmsg import Boot, kernel_log
from collectors.probe.collector import ProbeCollector
from collectors.probe.load import Loads, LoadTap
from collectors.prometheus import PrometheusCollector
from collectors.tail import Tail
from detection.stage import DetectionStage
from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.settings.collectors import (
    CollectorsSettings,
    EngineLogSettings,
    KernelLogSettings,
)
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.streams import TickSettings
from fleetmend.sinks import ProducerSink
from fleetmend.streams.port import Log
from fleetmend.streams.producer import Producer
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots

CLUSTER, NODE = "c", "n"
ENGINE = entity_id(CLUSTER, EntityKind.ENGINE, "e")


@dataclass(frozen=True, slots=True)
class Ways:
    """How the engine is reached."""

    pages: Fetcher
    answers: httpx.AsyncBaseTransport
    engine_log: Tail
    kernel_log: Tail | None
    boot: Boot


class Station:
    """The collectors and detection of one engine; nothing runs by itself."""

    def __init__(
        self,
        ways: Ways,
        settings: CollectorsSettings,
        *,
        log: Log,
        clock: Clock,
        executor: Executor | None = None,
    ) -> None:
        """`executor`: reads pages in another way than a pool of threads."""
        self._log, self._clock = log, clock
        self.letters = MemoryDeadLetters()
        self.fleet = FleetFollower(log, dead_letters=self.letters, clock=clock)
        loads = Loads()
        self.scraper = PrometheusCollector(
            settings,
            cluster=CLUSTER,
            sink=LoadTap(self._sink("prometheus"), loads),
            clock=clock,
            dead_letters=self.letters,
            resolve=self.fleet.resolve,
            fetcher=ways.pages,
            executor=executor,
        )
        self.probe = ProbeCollector(
            settings.probe,
            cluster=CLUSTER,
            sink=self._sink("probe"),
            clock=clock,
            rng=random.Random(1),
            loads=loads,
            transport=ways.answers,
        )
        self.followers = self._followers(ways, settings.events_per_minute_max)
        ticks = TickSettings()
        self.detection = StageRunner(
            DetectionStage(DetectionSettings(), ticks),
            log,
            output=Topic.FINDINGS,
            snapshots=MemorySnapshots(),
            dead_letters=self.letters,
            clock=clock,
            ticks=ticks,
        )

    def _sink(self, name: str) -> ProducerSink:
        producer = Producer(self._log, name=f"collector/{name}", clock=self._clock)
        return ProducerSink(producer, self.fleet)

    def _followers(self, ways: Ways, per_minute_max: int) -> list[LogFollower]:
        engine = EngineLogSettings(engine="e", node=NODE, path="engine.log")
        found = [
            engine_log(
                engine,
                cluster=CLUSTER,
                sink=self._sink("log/e"),
                clock=self._clock,
                resolve=self.fleet.resolve,
                per_minute_max=per_minute_max,
                tail=ways.engine_log,
            )
        ]
        if ways.kernel_log is not None:
            kernel = kernel_log(
                KernelLogSettings(node=NODE),
                cluster=CLUSTER,
                sink=self._sink(f"kmsg/{NODE}"),
                clock=self._clock,
                resolve=self.fleet.resolve,
                boot=ways.boot,
                per_minute_max=per_minute_max,
                tail=ways.kernel_log,
            )
            found.append(kernel)
        return found


def settings_for(url: str, folder: Path, *, golden_s: float | None = None) -> CollectorsSettings:
    """One engine on one node, with the default settings and no golden prompts; with `golden_s` a
    golden prompt as often as that. `folder` for their references."""
    target: dict[str, object] = {"kind": "engine", "engine": "e", "node": NODE}
    replica: dict[str, object] = {"engine": "e", "node": NODE}
    golden: dict[str, object] = {"path": str(folder / "golden.json")}
    if golden_s is None:
        golden["prompts"] = ()
    else:
        golden |= {"interval_s": golden_s, "confirm_s": golden_s}
        replica["interval_s"] = golden_s
        # They are sent while the page says that nothing is in hand.
        target |= {"interval_s": 0.25, "timeout_s": 0.2}
    return CollectorsSettings.model_validate(
        {
            "targets": [{"url": f"{url}/metrics", **target}],
            "probe": {"replicas": [{"url": url, **replica}], "golden": golden},
        }
    )
