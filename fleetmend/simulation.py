"""The whole loop on a simulated fleet in event time: as fast as it can, the same for the same seed.

Called by `fleetmend simulate` and by tests of quality. The services are those of a live process
(`fleetmend.pipeline`); only the clock and the wiring of threads differ.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import ActionKind
from fleetmend.pipeline import Parts, Role, services
from fleetmend.scoring.closed_loop import Act, Blamed, Done, Judgement, judge
from fleetmend.scoring.published import openings, publish
from fleetmend.services import Service, settle
from fleetmend.settings import Settings
from fleetmend.store import Store
from fleetmend.streams.reader import Reader
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters
from remediation.halt import FileHalt
from remediation.notices import StoreNotices
from remediation.world import Ports
from simulator.faults import Mend
from simulator.fleet import START_S, Fleet, Totals
from simulator.truth import TrueFault

ROLES = frozenset({Role.COLLECTOR, Role.DETECTOR, Role.RCA, Role.REMEDIATOR})
GIVES_BACK = frozenset({ActionKind.UNCORDON, ActionKind.RESTORE, ActionKind.NOTIFY})
"""Never wrong: they take nothing."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """What a simulation gave."""

    incidents: tuple[Incident, ...]
    """Every version of every incident, in the order of publication."""
    acts: tuple[Event, ...]
    truth: tuple[TrueFault, ...]
    totals: Totals
    start_s: float
    """Unix seconds at which the fleet's time began."""
    dead_letters: int

    def judged(self) -> Judgement:
        """Incidents and acts against what was done."""
        said = openings(publish(self.incidents, printed=str))
        blamed = [_blamed(one.id, one.at_s, one.first, one.entity) for one in said]
        return judge([_done(fault) for fault in self.truth], blamed, list(self._taking()))

    @property
    def served_share(self) -> float:
        """Of the requests that are over, those that were answered."""
        over = self.totals.done + self.totals.aborted + self.totals.refused
        return self.totals.done / max(over, 1)

    def _taking(self) -> Iterator[Act]:
        for event in self.acts:
            action = str(event.data.get("action", ""))
            if action not in GIVES_BACK:
                yield Act(action, event.subject, event.time_s)


def simulate(
    settings: Settings,
    *,
    seed: int,
    seconds: int,
    faults: Mapping[int, Sequence[str]] | None = None,
) -> Simulated:
    """Run a fleet for so many seconds of its own time. `faults`: which to begin at which second, on
    targets that chance picks, beside those of the settings' schedule. Raises PortRefused when a
    fault is unknown or nothing is left that it could hit."""
    with TemporaryDirectory(prefix="fleetmend-simulation-") as folder:
        return _Run(settings, seed, Path(folder)).go(seconds, faults or {})


class _Run:
    def __init__(self, settings: Settings, seed: int, folder: Path) -> None:
        switch = folder / "halt.json"
        FileHalt(switch).create()
        halt = settings.remediation.model_copy(update={"halt_file": str(switch)})
        self._settings = settings.model_copy(update={"remediation": halt})
        self._clock = ManualClock(START_S)
        self._fleet = fleet = Fleet(settings.simulator, seed, start_s=START_S)
        self._log = SqliteLog(":memory:", clock=self._clock, partitions=1)
        self._store = Store(f"sqlite:///{folder / 'store.db'}", self._clock)
        self._store.migrate()
        notices = StoreNotices(self._store, self._clock, role="remediator")
        parts = Parts(
            settings=self._settings,
            clock=self._clock,
            log=self._log,
            store=self._store,
            ports=lambda: Ports(
                cluster=fleet.cluster, traffic=fleet.traffic, engines=fleet.engines, notices=notices
            ),
            fleet=fleet,
            worker="simulation",
            read_wait_s=0.0,
        )
        self._services = [one for one in services(parts, ROLES) if isinstance(one, Service)]

    def go(self, seconds: int, faults: Mapping[int, Sequence[str]]) -> Simulated:
        for second in range(1, seconds + 1):
            for name in faults.get(second, ()):
                self._fleet.faults.inject(name)
            self._clock.advance_to(START_S + second)
            settle(self._services)
        incidents = [p for p in self._read(Topic.INCIDENTS) if isinstance(p, Incident)]
        acts = [p for p in self._read(Topic.ACTIONS) if isinstance(p, Event)]
        found = Simulated(
            incidents=tuple(incidents),
            acts=tuple(acts),
            truth=tuple(self._fleet.truth()),
            totals=self._fleet.totals(),
            start_s=START_S,
            dead_letters=self._dead_letters,
        )
        self._log.close()
        self._store.close()
        return found

    def _read(self, topic: Topic) -> Iterator[object]:
        letters = MemoryDeadLetters()
        places = {place: 0 for place in self._log.partitions(topic)}
        reader = Reader(self._log, places, dead_letters=letters, clock=self._clock)
        while fetched := list(reader.poll()):
            for item in fetched:
                if item.record is not None:
                    yield item.record.payload

    @property
    def _dead_letters(self) -> int:
        with self._store.transaction() as tx:
            return sum(tx.dead_letters.counts().values())


def _blamed(id: str, at_s: float, first: tuple[str, str] | None, entity: str) -> Blamed:
    cause, place = first if first else ("", entity)
    return Blamed(id, at_s, cause, EntityId(place))


def _done(fault: TrueFault) -> Done:
    return Done(
        id=fault.fault.id,
        cause=fault.cause,
        affected=frozenset(fault.affected),
        started_at_s=fault.fault.started_at_s,
        ended_at_s=fault.ended_at_s,
        benign=fault.benign,
        by_people=fault.ended_by is Mend.ON_CALL,
    )
