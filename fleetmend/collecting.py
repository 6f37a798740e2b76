"""The collectors that the settings ask for, each as a loop of its own with a sink of its own.

Part of the composition root: `fleetmend.pipeline` calls it for the role `collector`. What is not
asked for is not loaded.
"""

import random
from functools import partial
from typing import TYPE_CHECKING, Protocol

from collectors.engine_logs import engine_log
from collectors.kmsg import kernel_log, this_boot
from collectors.probe.collector import ProbeCollector
from collectors.probe.load import Loads, LoadTap
from collectors.prometheus import PrometheusCollector
from collectors.shards import shard_name, share_of
from collectors.sink import Sink
from fleetmend.clock import Clock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import EntityKind
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.services import Loop
from fleetmend.settings.collectors import CollectorsSettings

if TYPE_CHECKING:
    from collectors.otlp.collector import OtlpCollector


class MakeSink(Protocol):
    """Makes the sink of a collector."""

    def __call__(self, name: str, *, urgent: bool = True) -> Sink:
        """`urgent`: its events are news that must be in the log at once."""
        ...


def collectors_of(
    settings: CollectorsSettings,
    *,
    cluster: str,
    clock: Clock,
    dead_letters: DeadLetters,
    fleet: FleetFollower,
    sink: MakeSink,
) -> list[Loop]:
    """Scrapes, probes, logs, OpenTelemetry, the cluster's API. `fleet` knows who bears a name."""
    collectors = share_of(settings)
    found: list[Loop] = []
    loads = Loads()
    if collectors.targets:
        name = shard_name("prometheus", collectors)
        # What it tells beside samples is that scrapes went well: thousands of times a minute.
        told = sink(name, urgent=False)
        scraper = PrometheusCollector(
            collectors,
            cluster=cluster,
            sink=LoadTap(told, loads) if collectors.probe.replicas else told,
            clock=clock,
            dead_letters=dead_letters,
            resolve=fleet.resolve,
            name=name,
        )
        found.append(Loop("prometheus", scraper.run))
    if collectors.probe.replicas:
        rng = random.Random()  # noqa: S311  spreads requests, guards nothing
        told = sink(shard_name("probe", collectors))
        probe = ProbeCollector(
            collectors.probe, cluster=cluster, sink=told, clock=clock, rng=rng, loads=loads
        )
        found.append(Loop("probe", probe.run))
    for each in collectors.kernel_logs:
        follow = kernel_log(
            each,
            cluster=cluster,
            sink=sink(f"kmsg/{each.node}"),
            clock=clock,
            resolve=fleet.resolve,
            boot=this_boot(clock),
            per_minute_max=collectors.events_per_minute_max,
        )
        found.append(Loop(f"kmsg/{each.node}", follow.run))
    for log in collectors.engine_logs:
        follow = engine_log(
            log,
            cluster=cluster,
            sink=sink(f"log/{log.engine}"),
            clock=clock,
            resolve=fleet.resolve,
            per_minute_max=collectors.events_per_minute_max,
        )
        found.append(Loop(f"log/{log.engine}", follow.run))
    if collectors.otlp.enabled:
        otlp = _otlp(
            collectors,
            cluster=cluster,
            clock=clock,
            dead_letters=dead_letters,
            fleet=fleet,
            sink=sink("otlp"),
        )
        found.append(Loop("otlp", otlp.run))
    if collectors.kubernetes.enabled:
        from collectors.kube_watch import KubernetesCollector
        from collectors.kubernetes import KubeApi

        kube = collectors.kubernetes
        watch = KubernetesCollector(
            kube, cluster=cluster, sink=sink("kubernetes"), clock=clock, api=KubeApi(kube)
        )
        found.append(Loop("kubernetes", watch.run))
    return found


def _otlp(
    settings: CollectorsSettings,
    *,
    cluster: str,
    clock: Clock,
    dead_letters: DeadLetters,
    fleet: FleetFollower,
    sink: Sink,
) -> "OtlpCollector":
    """OpenTelemetry in."""
    from collectors.otlp.collector import OtlpCollector
    from collectors.otlp.intake import Intake
    from fleetmend.signals.catalogue import catalogue
    from fleetmend.streams.foreign import ForeignTopics

    otlp = settings.otlp
    topics = [t for t in (otlp.kafka_metrics_topic, otlp.kafka_logs_topic) if t]
    intake = Intake(
        settings,
        cluster=cluster,
        sink=sink,
        clock=clock,
        dead_letters=dead_letters,
        signals=catalogue(),
        resolve=fleet.resolve,
        node_of=lambda entity: fleet.view.ancestor(entity, EntityKind.NODE),
        fleet_known=lambda: fleet.was_caught_up,
    )
    foreign = partial(ForeignTopics, otlp.kafka_bootstrap, topics)
    return OtlpCollector(otlp, intake, clock, foreign=foreign)
