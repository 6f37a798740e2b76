"""Dry run: the executor's own loop, on ports that note what they would have sent.

Not a switch inside the executor: another ledger and other ports, so there is nothing that could
leak. Used by the console's preview, `runbook test` and the unit tests.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

from fleetmend.clock import ManualClock
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import Plan, Session, SessionState, StepState, Verdict
from fleetmend.ports.cluster import Cluster
from fleetmend.ports.engine import EngineControl
from fleetmend.ports.halt import HaltSwitch
from fleetmend.ports.traffic import Traffic
from fleetmend.settings.remediation import RemediationSettings
from remediation.actions.catalogue import actions
from remediation.execute import Executor
from remediation.gather import Books
from remediation.memory_ledger import MemoryLedger
from remediation.paper import PaperCluster, PaperEngines, PaperNotices, PaperTraffic
from remediation.picture import Picture
from remediation.policy import policy_from
from remediation.runbook import PROBATION_MAX_S
from remediation.runbook_files import Runbook
from remediation.session import is_over
from remediation.turn import Tools
from remediation.world import Ports

TURNS_MAX = 100
QUIET = frozenset({SessionState.WAITING, SessionState.HOLDING})
"""States in which a rehearsal ends: more turns would show nothing new."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where a dry run reads the fleet from."""

    cluster: Cluster
    traffic: Traffic
    engines: EngineControl


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What would have been done."""

    said: tuple[str, ...]
    """What would have been sent, in order."""
    session: Session
    verdicts: tuple[Verdict, ...]
    """What admission said, in order."""


class DryRun:
    """Rehearses one plan; a second call goes on where the first ended."""

    def __init__(
        self,
        plan: Plan,
        incident: Incident,
        *,
        sources: Sources,
        picture: Picture,
        runbooks: Sequence[Runbook],
        halt: HaltSwitch,
        settings: RemediationSettings,
        books: Books,
        at_s: float,
    ) -> None:
        """`at_s` is the moment at which the rehearsal starts, Unix seconds."""
        said: list[str] = []
        self._said = said
        self._clock = ManualClock(at_s)
        self._ledger = MemoryLedger(plan, incident, books, at_s=at_s)
        ports = Ports(
            PaperCluster(sources.cluster, said),
            PaperTraffic(sources.traffic, said),
            PaperEngines(sources.engines, said),
            PaperNotices(said),
        )
        tools = Tools(
            ledger=self._ledger,
            ports=ports,
            actions=actions(drain_parallel=settings.drain_parallel),
            picture=picture,
            policy=policy_from(settings),
            runbooks={runbook.id: runbook for runbook in runbooks},
            halt=halt,
            clock=self._clock,
            settings=settings,
        )
        self._executor = Executor(tools, worker="dry-run")

    def run(self) -> Rehearsal:
        """Until the plan holds, waits for something, or is over."""
        for _ in range(TURNS_MAX):
            self._executor.run_once()
            session = self._ledger.session
            if is_over(session) or session.state in QUIET:
                break
            self._clock.wait(threading.Event(), max(0.0, session.lease_until_s - self._now_s))
        return self._rehearsal()

    def resolve(self) -> Rehearsal:
        """The incident has been over for longer than any probation: what would be given back."""
        ledger = self._ledger
        long_ago_s = self._now_s - PROBATION_MAX_S
        ledger.incident = replace(
            ledger.incident, status=IncidentStatus.RESOLVED, resolved_at_s=long_ago_s
        )
        for _ in range(TURNS_MAX):
            if is_over(ledger.session):
                break
            self._clock.wait(
                threading.Event(), max(0.0, ledger.session.lease_until_s - self._now_s)
            )
            self._executor.run_once()
        return self._rehearsal()

    def done(self) -> list[str]:
        """Actions done so far, in order, those that gave back last."""
        plan, session = self._ledger.plan, self._ledger.session
        done = (StepState.DONE, StepState.FOUND_DONE)
        records = [(plan.steps, session.steps), (plan.give_back, session.give_back)]
        return [
            step.action.value
            for steps, kept in records
            for step, record in zip(steps, kept, strict=True)
            if record.state in done
        ]

    @property
    def _now_s(self) -> float:
        return self._clock.now_s()

    def _rehearsal(self) -> Rehearsal:
        return Rehearsal(tuple(self._said), self._ledger.session, tuple(self._ledger.verdicts))
