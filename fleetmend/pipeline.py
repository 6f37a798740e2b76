"""The whole flow, in the order in which a sample meets it. The composition root.

    collectors -> log -> detection -> log -> root cause -> log -> remediation -> the outside world
                                                                  alerting, console <- store

Every role of a process is a function below that says what it is made of; `services` puts the roles
together. Nothing here decides anything.

A role loads only what it runs, so its imports stand in its function: a worker that was killed is
back in a fraction of the time that loading the whole platform takes, and a node agent needs nothing
of the extra `platform`.
"""

import os
import random
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from fleetmend.clock import Clock
from fleetmend.errors import SettingsError
from fleetmend.health import FlowMetrics
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.ports.faults import FaultInjector
from fleetmend.ports.halt import HaltSwitch
from fleetmend.services import Loop, Service
from fleetmend.settings import Settings
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Log
from fleetmend.streams.producer import Producer
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.stage import Stage
from fleetmend.streams.topics import Topic

if TYPE_CHECKING:
    from console.deps import ConsoleDeps
    from fleetmend.store import Store
    from fleetmend.telemetry import Telemetry
    from remediation.halt import RecentHalt
    from remediation.world import Ports
    from simulator.fleet import Fleet

RECENT_S = 900.0
"""Samples kept for charts and the map."""
SLOW_WAIT_S = 0.25
"""Pause of services that nobody waits for."""
READ_WAIT_S = 0.1
"""Longest wait of a stage for the next record; then it looks for partitions that are silent."""
BREATH_S = 0.002
"""Pause of services that wait in the log: only against spinning where there is nothing to read."""


class Role(StrEnum):
    """What a process can be; the embedded form is all of them in one."""

    COLLECTOR = "collector"
    DETECTOR = "detector"
    RCA = "rca"
    REMEDIATOR = "remediator"
    CONSOLE = "console"


def unique_name() -> str:
    """A name for this process. Host and number alone come back: a pod of a stateful set keeps both
    when it is started again, while the one before it may still be acting somewhere."""
    return f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}"


@dataclass(slots=True)
class Parts:
    """What the roles of one process share."""

    settings: Settings
    clock: Clock
    log: Log
    store: "Store | None"
    """None for a collector by itself on a node, which needs none."""
    ports: "Callable[[], Ports]"
    """The outside world that remediation acts on; made when it is first needed."""
    fleet: "Fleet | None" = None
    """The simulated fleet, where one stands in for the real."""
    worker: str = field(default_factory=unique_name)
    """Holds sessions and folds: no other process ever has this name."""
    read_wait_s: float = READ_WAIT_S
    """0 in simulations, where time passes only when they say so."""
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    figures: FlowMetrics = field(init=False)
    """What the roles say of the flow on /metrics."""

    telemetry: "Telemetry | None" = field(init=False, default=None)
    """Traces and figures that are sent out; None where settings name no endpoint."""

    def __post_init__(self) -> None:
        """The figures are on the page from the start."""
        self.figures = FlowMetrics(self.clock)
        self.registry.register(self.figures)
        if self.settings.telemetry.endpoint:
            from fleetmend.telemetry import open_telemetry

            self.telemetry = open_telemetry(
                self.settings.telemetry, cluster=self.settings.cluster, worker=self.worker
            )

    def stored(self) -> "Store":
        """The store, for roles that cannot be without. Raises SettingsError."""
        if self.store is None:
            raise SettingsError("this role needs a store", where="store.url")
        return self.store

    def dead_letters(self) -> DeadLetters:
        """Where what cannot be understood goes: the store, or without one the process's own log."""
        if self.store is None:
            from fleetmend.sinks import LoggedDeadLetters

            return LoggedDeadLetters()
        from fleetmend.store import StoreDeadLetters

        return StoreDeadLetters(self.store)


def services(parts: Parts, roles: frozenset[Role]) -> list[Service | Loop]:
    """Every service of a process with these roles, in the order of the drawing."""
    build: Mapping[Role, Callable[[Parts], list[Service | Loop]]] = {
        Role.COLLECTOR: collecting,
        Role.DETECTOR: detecting,
        Role.RCA: explaining,
        Role.REMEDIATOR: mending,
    }
    return [service for role, make in build.items() if role in roles for service in make(parts)]


def collecting(parts: Parts) -> list[Service | Loop]:
    """Everything that observes; or the simulated fleet in place of it."""
    if parts.fleet is not None:
        from fleetmend.sinks import simulation

        producer = _producer(parts, "simulator")
        return [Service("simulator", simulation(parts.fleet, producer, parts.clock), SLOW_WAIT_S)]
    from fleetmend.collecting import collectors_of
    from fleetmend.following import FleetFollower
    from fleetmend.sinks import ProducerSink

    dead_letters = parts.dead_letters()
    follower = FleetFollower(parts.log, dead_letters=dead_letters, clock=parts.clock)
    parts.figures.followers["fleet"] = lambda: follower.losses

    def sink(name: str, *, urgent: bool = True) -> ProducerSink:
        # Who follows a log or a cluster beats by itself, with figures of its own.
        beats = not name.startswith(("kmsg/", "log/", "kubernetes"))
        own = entity_id(parts.settings.cluster, EntityKind.COLLECTOR, name) if beats else None
        return ProducerSink(_producer(parts, name, urgent=urgent), follower, beats_as=own)

    found = collectors_of(
        parts.settings.collectors,
        cluster=parts.settings.cluster,
        clock=parts.clock,
        dead_letters=dead_letters,
        fleet=follower,
        sink=sink,
    )
    return [Service("fleet", follower.step), *found]


def _producer(parts: Parts, name: str, *, urgent: bool = True) -> Producer:
    name = f"collector/{name}"
    producer = Producer(parts.log, name=name, clock=parts.clock, urgent=urgent)
    parts.figures.producers.append(producer)
    return producer


def detecting(parts: Parts) -> list[Service | Loop]:
    """Samples and events to findings and the coverage ledger, and its book."""
    from detection.stage import DetectionStage
    from fleetmend.coveragebook import CoverageBook

    stage = DetectionStage(parts.settings.detection, parts.settings.ticks)
    book = CoverageBook(
        parts.log, parts.stored(), dead_letters=parts.dead_letters(), clock=parts.clock
    )
    parts.figures.followers["coverage"] = lambda: book.losses
    return [
        _folding(parts, stage, Topic.FINDINGS),
        Service("coverage", book.step, SLOW_WAIT_S),
    ]


def explaining(parts: Parts) -> list[Service | Loop]:
    """Findings to incidents with ranked causes."""
    from rca.stage import RootCauseStage

    return [_folding(parts, RootCauseStage(parts.settings.rca), Topic.INCIDENTS)]


def _folding(parts: Parts, stage: Stage, output: Topic) -> Service:
    from fleetmend.store import StoreSnapshots

    if parts.telemetry is not None:
        from fleetmend.telemetry import TracedStage

        stage = TracedStage(stage, parts.telemetry.span)
    runner = StageRunner(
        stage,
        parts.log,
        output=output,
        snapshots=StoreSnapshots(parts.stored()),
        dead_letters=parts.dead_letters(),
        clock=parts.clock,
        ticks=parts.settings.ticks,
        runner=parts.worker,
    )
    parts.figures.folds[stage.name] = runner
    # It waits in the log itself, so that a record is taken in as soon as it is there.
    return Service(stage.name, partial(runner.step, parts.read_wait_s), BREATH_S)


def mending(parts: Parts) -> list[Service | Loop]:
    """Incidents to plans, sessions and acts; messages to receivers."""
    from alerting.channels.build import build_notifiers
    from alerting.guard import resolve
    from alerting.service import AlertingService
    from fleetmend.views.names import Names
    from remediation.actions.catalogue import actions
    from remediation.execute import Executor
    from remediation.intake import Intake
    from remediation.mender import Mender
    from remediation.picture import Picture
    from remediation.policy import policy_from
    from remediation.proposals import Proposals
    from remediation.publish import publish_actions
    from remediation.runbook_files import runbooks_of
    from remediation.store_ledger import StoreLedger
    from remediation.turn import Tools

    settings, clock, store = parts.settings.remediation, parts.clock, parts.stored()
    runbooks = runbooks_of(settings.runbooks)
    notifiers = build_notifiers(parts.settings.alerting, clock, resolve)
    picture = Picture(settings)
    alerts = AlertingService(
        store,
        parts.settings.alerting,
        clock,
        notifiers=notifiers,
        rng=random.Random(),  # noqa: S311  spreads retries, guards nothing
        names=Names(lambda: picture.topology, clock),
    )
    proposals = Proposals(picture.topology, runbooks, notify=alerts.on_incident)
    intake = Intake(
        log=parts.log,
        decode=decode,
        store=store,
        picture=picture,
        proposals=proposals,
        clock=clock,
    )
    policy = policy_from(settings)
    tools = Tools(
        ledger=StoreLedger(store, clock, role="remediator", taken_window_s=policy.longest_window_s),
        ports=parts.ports(),
        actions=actions(drain_parallel=settings.drain_parallel),
        picture=picture,
        policy=policy,
        runbooks={runbook.id: runbook for runbook in runbooks},
        halt=halt_switch(parts.settings, clock),
        clock=clock,
        settings=settings,
    )
    traced = {} if parts.telemetry is None else {"span": parts.telemetry.span}
    executor = Executor(tools, worker=parts.worker, **traced)
    parts.figures.caught |= {"intake": intake.failures, "executor": executor.failures}
    mender = Mender(intake, executor, picture, wait_s=min(settings.poll_s, parts.read_wait_s))
    return [
        Service("remediation", mender.step, BREATH_S),
        Service("actions", lambda: publish_actions(store, parts.log, clock), SLOW_WAIT_S),
        Service("alerting", alerts.deliver_due, SLOW_WAIT_S),
    ]


def halt_switch(settings: Settings, clock: Clock) -> "RecentHalt":
    """The one halt, as this process reads it before every side effect: the file, which answers at
    once, then the cluster's own switch where one is set."""
    from remediation.halt import AnyHalt, FileHalt, RecentHalt

    remediation = settings.remediation
    switches: list[HaltSwitch] = [FileHalt(Path(remediation.halt_file))]
    if remediation.halt_configmap:
        from remediation.configmap import ConfigMapHalt
        from remediation.kubernetes_rest import connect

        rest = connect(kubeconfig=remediation.kubeconfig, timeout_s=remediation.request_timeout_s)
        switches.append(ConfigMapHalt(rest, remediation.halt_configmap))
    return RecentHalt(AnyHalt(switches), clock)


def showing(
    parts: Parts, faults: FaultInjector | None
) -> "tuple[ConsoleDeps, list[Service | Loop]]":
    """What the console is made of, and the services that bring it charts and the map."""
    from console.deps import ConsoleDeps
    from fleetmend.charts import EvidenceCharts
    from fleetmend.fleetmap import FleetMap
    from fleetmend.following import FleetFollower
    from fleetmend.views.recent import RecentSamples
    from remediation.runbook_files import runbooks_of
    from remediation.service import RemediationService

    clock, store, remediation = parts.clock, parts.stored(), parts.settings.remediation
    follower = FleetFollower(parts.log, dead_letters=parts.dead_letters(), clock=clock)
    recent = RecentSamples(parts.log, keep_s=RECENT_S)
    charts = EvidenceCharts(store, recent, follower, clock)
    decisions = RemediationService(
        store,
        clock,
        halt=halt_switch(parts.settings, clock),
        runbooks=runbooks_of(remediation.runbooks),
        approval_ttl_s=remediation.approval_ttl_s,
    )
    deps = ConsoleDeps(
        settings=parts.settings.console,
        clock=clock,
        store=store,
        decisions=decisions,
        fleet=FleetMap(follower, recent, store, clock),
        faults=faults,
        registry=parts.registry,
    )
    parts.figures.followers["fleet-map"] = lambda: follower.losses
    following = Service("fleet-map", follower.step, SLOW_WAIT_S)
    return deps, [following, Service("charts", charts.step, SLOW_WAIT_S)]
