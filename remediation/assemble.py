"""Remediation from its parts: what the composition root needs to run it in one process.

Nothing is started here. `Remediation.step` is one round of the loop; `run` repeats it until told to
stop.
"""

import logging
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fleetmend.clock import Clock
from fleetmend.errors import FleetError
from fleetmend.ports.cluster import Cluster
from fleetmend.ports.engine import EngineControl
from fleetmend.ports.halt import HaltSwitch
from fleetmend.ports.traffic import Traffic
from fleetmend.settings.remediation import RemediationSettings
from fleetmend.store import Store
from fleetmend.streams.port import Log
from remediation.absent import AbsentCluster, AbsentEngines, AbsentTraffic
from remediation.actions.catalogue import actions
from remediation.configmap import ConfigMapHalt
from remediation.execute import Executor
from remediation.halt import AnyHalt, FileHalt, RecentHalt
from remediation.intake import Decode, Intake
from remediation.kubernetes import KubernetesCluster
from remediation.kubernetes_rest import connect
from remediation.notices import StoreNotices
from remediation.picture import Picture
from remediation.policy import policy_from
from remediation.proposals import Notify, Proposals
from remediation.publish import publish_actions
from remediation.runbook_files import Runbook
from remediation.service import RemediationService
from remediation.store_ledger import StoreLedger
from remediation.turn import Tools
from remediation.world import Ports

logger = logging.getLogger(__name__)

ROLE = "remediator"
TURNS_MAX = 100
"""Turns of sessions in one round, before incidents are looked at again."""


@dataclass(frozen=True, slots=True)
class Outside:
    """What remediation acts on."""

    cluster: Cluster
    traffic: Traffic
    engines: EngineControl


@dataclass(slots=True)
class Remediation:
    """The parts, wired."""

    intake: Intake
    executor: Executor
    service: RemediationService
    picture: Picture
    store: Store
    log: Log
    clock: Clock
    poll_s: float

    def start(self) -> None:
        """Find the places to read from. Raises StoreError, StreamError."""
        self.intake.start()

    def step(self, *, wait_s: float = 0.0) -> bool:
        """One round: take in, act, tell. True when there was anything to do. Raises FleetError."""
        busy = self.intake.step(wait_s=wait_s) > 0
        for _ in range(TURNS_MAX):
            if not self.executor.run_once():
                break
            busy = True
        return publish_actions(self.store, self.log, self.clock) > 0 or busy

    def run(self, stop: threading.Event) -> None:
        """Rounds until `stop` is set. What fails is logged and tried again; whatever the intake's
        trouble, sessions go on, because giving back must."""
        started = False
        while not stop.is_set():
            try:
                if not started:
                    self.start()
                    started = True
                busy = self.step(wait_s=self.poll_s)
            except FleetError as error:
                logger.warning("remediation round failed", extra={"error": str(error)})
                busy = self._give_back_at_least()
            if not busy:
                self.clock.wait(stop, self.poll_s)

    def _give_back_at_least(self) -> bool:
        """The picture is old by now, so admission takes nothing; what is due to return does."""
        self.picture.behind = self.picture.behind or "the log cannot be read"
        try:
            return self.executor.run_once()
        except FleetError as error:
            logger.warning("executor failed", extra={"error": str(error)})
            return False


def assemble(
    settings: RemediationSettings,
    *,
    store: Store,
    log: Log,
    decode: Decode,
    clock: Clock,
    outside: Outside,
    halt: HaltSwitch,
    runbooks: Sequence[Runbook],
    notify: Notify,
    worker: str,
) -> Remediation:
    """Everything but the start. `decode` is the streams' record decoder, `notify` alerting's
    `on_incident`; `worker` names this process."""
    picture = Picture(settings)
    policy = policy_from(settings)
    blasts = [r.file.blast.window_s for r in runbooks if r.file.blast is not None]
    ledger = StoreLedger(
        store, clock, role=ROLE, taken_window_s=max([policy.window_max_s, *blasts])
    )
    notices = StoreNotices(store, clock, role=ROLE)
    tools = Tools(
        ledger=ledger,
        ports=Ports(outside.cluster, outside.traffic, outside.engines, notices),
        actions=actions(drain_parallel=settings.drain_parallel),
        picture=picture,
        policy=policy,
        runbooks={runbook.id: runbook for runbook in runbooks},
        halt=halt,
        clock=clock,
        settings=settings,
    )
    return Remediation(
        intake=Intake(
            log=log,
            decode=decode,
            store=store,
            picture=picture,
            proposals=Proposals(picture.topology, runbooks, notify=notify),
            clock=clock,
        ),
        executor=Executor(tools, worker=worker),
        service=make_service(settings, store=store, clock=clock, halt=halt, runbooks=runbooks),
        picture=picture,
        store=store,
        log=log,
        clock=clock,
        poll_s=settings.poll_s,
    )


def make_service(
    settings: RemediationSettings,
    *,
    store: Store,
    clock: Clock,
    halt: HaltSwitch,
    runbooks: Sequence[Runbook],
) -> RemediationService:
    """The service alone, for processes that only decide: console, command line."""
    ttl_s = settings.approval_ttl_s
    return RemediationService(store, clock, halt=halt, runbooks=runbooks, approval_ttl_s=ttl_s)


def real_outside(settings: RemediationSettings) -> Outside:
    """The Kubernetes cluster when the settings name one; what is not there refuses by name. Raises
    SettingsError."""
    cluster: Cluster = AbsentCluster()
    if settings.kubernetes:
        rest = connect(kubeconfig=settings.kubeconfig, timeout_s=settings.request_timeout_s)
        cluster = KubernetesCluster(rest, foreign_owners=settings.foreign_owners)
    return Outside(cluster, AbsentTraffic(), AbsentEngines())


def halt_switch(settings: RemediationSettings, clock: Clock) -> HaltSwitch:
    """The file, and the ConfigMap when the settings name one. Raises SettingsError, PortError."""
    file = FileHalt(Path(settings.halt_file))
    file.create()
    switches: list[HaltSwitch] = [file]
    if settings.halt_configmap:
        rest = connect(kubeconfig=settings.kubeconfig, timeout_s=settings.request_timeout_s)
        switches.append(ConfigMapHalt(rest, settings.halt_configmap))
    return RecentHalt(AnyHalt(switches), clock)
