"""A case: what the analyst remembers of one incident. Kept in snapshots, published by
`record.py`."""

import base64
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from fleetmend.model.entities import EntityId
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.settings.rca import IncidentSettings
from rca.acts import OwnAct
from rca.evidence import Key, Observation
from rca.overload import Loss
from rca.scene import Hypothesis, Scene

EVIDENCE_MAX = 200
"""Pieces of evidence that an incident holds in full: about 100 kB as a record, of which a broker
takes 1 MB."""
EVIDENCE_OF_SIGN = 40
"""The same of one sign, so that the first thousand of one leave room for others."""


@dataclass(frozen=True, slots=True)
class Held:
    """A finding that is open or provisional."""

    finding: Finding
    """Its newest record."""
    first_tick: int
    """The tick of its first record."""
    announced_at_s: float | None
    """When it was announced on arrival; None when its first record came from a tick."""


@dataclass(slots=True)
class Case:
    """One incident from opening to end."""

    id: str
    root: Hypothesis | None
    """The fault it is taken for; None while no fault class explains it."""
    opened_at_s: float
    onset_s: float
    evidence: list[Observation]
    """In order of joining, each as last seen: E1, E2 ... keep their numbers."""
    status: IncidentStatus = IncidentStatus.OPEN
    born: str = ""
    """The provisional finding that opened it on arrival."""
    provisional: bool = False
    faded_at_s: float | None = None
    """Since when nothing that is open speaks for the root any more."""
    ended_at_s: float | None = None
    """When it was mitigated or resolved."""
    beyond: dict[str, dict[EntityId, float]] = field(default_factory=dict)
    """By sign and entity, what it holds besides its evidence: when each last came or worsened. A
    storm's incident names some of each sign, and counts the rest."""
    merged_into: str = ""
    version: int = 0
    published: Incident | None = None
    """The last version that went out."""

    @property
    def keys(self) -> set[Key]:
        """Everything it holds as evidence."""
        held = {seen.key for seen in self.evidence}
        return held.union((e, sign) for sign, more in self.beyond.items() for e in more)

    @property
    def latest_s(self) -> Iterator[tuple[Key, float]]:
        """Each sign that it holds, with when it last came or worsened."""
        for seen in self.evidence:
            yield seen.key, seen.latest_s
        for sign, more in self.beyond.items():
            yield from (((entity, sign), at_s) for entity, at_s in more.items())

    @property
    def entities(self) -> set[EntityId]:
        """Everything it touches."""
        touched = {seen.entity for seen in self.evidence}.union(*self.beyond.values())
        return touched if self.root is None else touched | {self.root.entity}

    @property
    def live(self) -> bool:
        """True until it was resolved or merged."""
        return self.status in (IncidentStatus.OPEN, IncidentStatus.MITIGATED)

    @property
    def backlogged(self) -> bool:
        """True when the fault has left requests behind."""
        return any(seen.sign in BACKLOG_SIGNS for seen in self.evidence)

    def hold(self, signs: Iterable[Observation]) -> None:
        """Take in signs, or their newer states."""
        newest = {held.key: held for held in self.evidence}
        counts = Counter(held.sign for held in self.evidence)
        for seen in signs:
            room = counts[seen.sign] < EVIDENCE_OF_SIGN and len(newest) < EVIDENCE_MAX
            if seen.key in newest:
                newest[seen.key] = seen
            elif room and seen.entity not in self.beyond.get(seen.sign, ()):
                newest[seen.key] = seen
                counts[seen.sign] += 1
            else:
                self.beyond.setdefault(seen.sign, {})[seen.entity] = seen.latest_s
        self.evidence = list(newest.values())


BACKLOG_SIGNS = frozenset(
    {"queue", "first_token_slow", "generation_down", "engine_hung", "engine_died", "probe_failed"}
)
"""Signs of a fault that leaves requests behind."""


@dataclass(slots=True)
class Ghost:
    """A fault that ended and left a backlog: for a while its draining is an echo, not a new
    fault."""

    entities: list[EntityId]
    faded_at_s: float


@dataclass(slots=True)
class Pending:
    """A sign that no incident explains yet."""

    since_s: float
    """Event time at which it was first seen so."""
    spent: bool = False
    """It belonged to an incident that has ended and opens nothing again while it lasts."""


@dataclass(slots=True)
class Docket:
    """All that the analyst remembers."""

    cases: dict[str, Case] = field(default_factory=dict)
    """By id; those that ended stay until they were published."""
    ghosts: list[Ghost] = field(default_factory=list)
    pending: dict[Key, Pending] = field(default_factory=dict)
    """In order of key."""
    losses: dict[EntityId, Loss] = field(default_factory=dict)
    """Engines that serve nothing, or did not a little while ago."""
    echoes: list[Key] = field(default_factory=list)
    """Signs of this tick that are taken for the echo of a fault."""

    @property
    def live(self) -> list[Case]:
        """Cases that have not ended, oldest first."""
        cases = (case for case in self.cases.values() if case.live)
        return sorted(cases, key=lambda case: (case.opened_at_s, case.id))

    by_entity: dict[EntityId, list[Case]] = field(default_factory=dict)
    """Active cases by the entities that they touch, as of the last `index`."""

    def index(self, scene: Scene) -> None:
        """Note which active case touches which entity."""
        self.by_entity = {}
        for case in self.active:
            self.note(case, scene)

    def note(self, case: Case, scene: Scene) -> None:
        """Add a case to the index. A parent touches all that it reaches, seen or not."""
        touched = case.entities
        if case.root is not None and scene.fault(case.root).shared:
            touched |= scene.looks_at([case.root])
        for entity in touched:
            self.by_entity.setdefault(entity, []).append(case)

    def near(self, entities: Iterable[EntityId]) -> list[Case]:
        """Active cases that touch any of these entities, oldest first."""
        found = {
            case.id: case
            for entity in entities
            for case in self.by_entity.get(entity, ())
            if case.live and case.faded_at_s is None
        }
        return sorted(found.values(), key=lambda case: (case.opened_at_s, case.id))

    @property
    def active(self) -> list[Case]:
        """Live cases whose fault still shows."""
        return [case for case in self.live if case.faded_at_s is None]


@dataclass(frozen=True, slots=True)
class Turn:
    """One tick as the analyst gets it."""

    scene: Scene
    findings: Mapping[str, Held]
    """Those that are open or provisional, by id."""
    tick: int
    at_s: float
    """Event time reached: what is opened now carries it."""
    acts: tuple[OwnAct, ...]
    """Acts of ours that are in place or still show."""
    acting: frozenset[EntityId]
    """Entities on which an action of ours is in place."""
    settings: IncidentSettings


def incident_id(entity: EntityId, opening_tick: int) -> str:
    """A short readable id, the same for the same entity and tick: of the opening, or of the
    finding that was announced on arrival."""
    text = f"{entity}\x1f{opening_tick}"
    digest = hashlib.blake2b(text.encode(), digest_size=5).digest()
    return f"INC-{base64.b32encode(digest).decode()}"
