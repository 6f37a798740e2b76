"""A workbench: a small fleet, a real store in a file, fakes of the outside, and an executor on a
clock that moves only when told to."""

import itertools
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from fleetmend.clock import ManualClock
from fleetmend.model.audit import AuditVerb, verify_chain
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import Autonomy, Plan, Session, SessionState
from fleetmend.model.ticks import Mark
from fleetmend.ports.engine import EngineState
from fleetmend.ports.traffic import BackendState
from fleetmend.settings.remediation import LimitSettings, PoolSettings, RemediationSettings
from fleetmend.store import Store, Transaction
from remediation.actions.catalogue import actions
from remediation.execute import Executor
from remediation.ledger import Ledger
from remediation.notices import StoreNotices
from remediation.policy import policy_from
from remediation.proposals import Proposals
from remediation.runbook_files import Runbook, load_runbooks
from remediation.sample import NODES, NOW_S, gpu_id, sample_incident, sample_picture
from remediation.session import is_over
from remediation.store_ledger import StoreLedger
from remediation.turn import Tools
from remediation.world import Ports
from tests.unit.remediation.fakes import FakeCluster, FakeEngines, FakeHalt, FakeTraffic

RUNBOOKS = load_runbooks(Path(__file__).parents[3] / "runbooks")
BOTH = (Witness.KERNEL_LOG, Witness.TELEMETRY)


def quiet(tx: Transaction, previous: Incident | None, incident: Incident) -> None:
    """Alerting that says nothing."""


def auto(**changes: Any) -> RemediationSettings:  # values of several types
    """Settings of a pool that acts by itself, with room to do so."""
    wide = LimitSettings(taken_max=9, out_max=9, out_fraction=1.0)
    pool = PoolSettings(autonomy=Autonomy.AUTO, limits=wide)
    chosen: dict[str, Any] = {"default": pool, "rack_limits": wide, "fleet_limits": wide}
    return RemediationSettings(**(chosen | changes))


@dataclass
class Bench:
    """Everything that a test of the executor needs."""

    store: Store
    settings: RemediationSettings = field(default_factory=auto)
    runbooks: tuple[Runbook, ...] = RUNBOOKS
    clock: ManualClock = field(default_factory=lambda: ManualClock(NOW_S))

    def __post_init__(self) -> None:
        self.picture = sample_picture(self.settings)
        self.cluster = FakeCluster()
        self.traffic = FakeTraffic()
        self.engines = FakeEngines()
        self.halt = FakeHalt()
        for number in range(NODES):
            name = f"engine-{number}"
            self.cluster.add_node(f"node-{number}")
            self.cluster.add_pod(name, f"node-{number}")
            self.traffic.backends[name] = BackendState(name, 80, True, "")
            self.engines.engines[name] = EngineState(name, 1, True, "")
        self.cluster.add_pod("agent-0", "node-0", daemon=True)
        self.proposals = Proposals(self.picture.topology, self.runbooks, notify=quiet)
        self.ledger: Ledger = StoreLedger(
            self.store, self.clock, role="remediator", taken_window_s=3600.0
        )
        notices = StoreNotices(self.store, self.clock, role="remediator")
        self.ports = Ports(self.cluster, self.traffic, self.engines, notices)
        self._workers = itertools.count(1)
        self.executor = self.new_worker()

    def new_worker(self, ledger: Ledger | None = None, ports: Ports | None = None) -> Executor:
        """Another executor on the same store and world."""
        tools = Tools(
            ledger=ledger or self.ledger,
            ports=ports or self.ports,
            actions=actions(drain_parallel=self.settings.drain_parallel),
            picture=self.picture,
            policy=policy_from(self.settings),
            runbooks={runbook.id: runbook for runbook in self.runbooks},
            halt=self.halt,
            clock=self.clock,
            settings=self.settings,
        )
        return Executor(tools, worker=f"worker-{next(self._workers)}")

    def happen(self, incident: Incident) -> Session | None:
        """An incident changes; its session, if one is open."""
        with self.store.transaction() as tx:
            self.proposals.keep(tx, incident, now_s=self.clock.now_s())
            sessions = tx.sessions.for_incident(incident.id)
        return sessions[-1] if sessions else None

    def lost_gpu(
        self,
        *,
        witnesses: tuple[Witness, ...] = BOTH,
        provisional: bool = False,
        entity: EntityId | None = None,
        incident_id: str = "i-example",
    ) -> Session:
        """A GPU falls off the bus."""
        incident = sample_incident(
            cause="gpu_fallen_off_bus",
            entity=entity or gpu_id(0),
            witnesses=witnesses,
            symptom="xid.79",
            provisional=provisional,
        )
        session = self.happen(replace(incident, id=incident_id))
        assert session is not None
        return session

    def resolve(self, incident_id: str = "i-example", status: str = "resolved") -> None:
        """The incident is over, long enough ago for any probation."""
        with self.store.reading() as tx:
            incident = tx.incidents.get(incident_id)
        assert incident is not None
        self.happen(
            replace(
                incident,
                version=incident.version + 1,
                status=IncidentStatus(status),
                resolved_at_s=self.clock.now_s() - 86_400.0,
            )
        )

    def work(
        self, seconds: float = 12.0, worker: Executor | None = None, *, step_s: float = 1.0
    ) -> None:
        """Let the executor work for a while; the world follows every `step_s`."""
        until_s = self.clock.now_s() + seconds
        while self.clock.now_s() < until_s:
            while (worker or self.executor).run_once():
                pass
            self.clock.sleep(step_s)
            self.cluster.settle()
            self.engines.settle()
            self.picture.mark(Mark("rca", self.clock.now_s()))

    def session(self, session_id: str) -> Session:
        with self.store.reading() as tx:
            found = tx.sessions.get(session_id)
        assert found is not None
        return found

    def plan(self, session_id: str) -> Plan:
        with self.store.reading() as tx:
            session = tx.sessions.get(session_id)
            assert session is not None
            found = tx.plans.get(session.plan, session.plan_version)
        assert found is not None
        return found

    def states(self, session_id: str) -> list[str]:
        return [record.state.value for record in self.session(session_id).steps]

    def verbs(self, session_id: str) -> list[AuditVerb]:
        with self.store.reading() as tx:
            return [record.verb for record in tx.audit.all() if record.subject == session_id]

    def notes(self, incident_id: str = "i-example") -> list[str]:
        with self.store.reading() as tx:
            return [note.text for note in tx.notes.for_incident(incident_id)]

    def published(self) -> list[str]:
        """Ids of the action events on their way to the log."""
        with self.store.reading() as tx:
            return sorted(row.id for row in tx.outbox.due(NOW_S * 2, 1000))

    def audit_holds(self) -> bool:
        with self.store.reading() as tx:
            return verify_chain(tx.audit.all()) is None

    def active(self) -> list[SessionState]:
        with self.store.reading() as tx:
            return [s.state for s in tx.sessions.active() if not is_over(s)]


def stores(template: Path, folder: Path) -> Iterator[Store]:
    """One migrated store after another, each a copy of `template`."""
    for number in itertools.count():
        path = folder / f"store-{number}.db"
        shutil.copy(template, path)
        yield Store(f"sqlite:///{path}", ManualClock(NOW_S))
