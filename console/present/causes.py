"""Ranked causes: what speaks for and against each, how it reaches the symptom, what people said."""

from dataclasses import dataclass

from console.figures import kind_word, name_of, percent
from console.present.case import IncidentCase
from console.present.signals import title
from console.words import ROLE, Word, humanise, prose
from fleetmend.model.events import event_id
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Cause, CauseRole, Evidence
from fleetmend.store import LabelVerdict

CAUSES_MAX = 12
SHOWN_MAX = 3
"""Causes that are shown at once; the rest is folded away."""
UNLIKELY = 0.05
"""A cause that scores less is folded away too, unless it comes near to the first."""
NEAR = 0.5
ARGUMENTS_MAX = 6
ARGUMENTS_LATER = 3
"""Arguments of the causes after the first."""
_ABSENT = "absent:"
_METER = {CauseRole.ROOT: "bad", CauseRole.CONTRIBUTING: "warn", CauseRole.CANDIDATE: "inf"}


@dataclass(frozen=True, slots=True)
class Argument:
    """One reason for or against; with the evidence it rests on, when there is such."""

    text: str
    evidence: str = ""


@dataclass(frozen=True, slots=True)
class Stop:
    """One entity on the way from the cause to the symptom."""

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class CauseView:
    """One row of the card."""

    rank: int
    folded: bool
    """True for what is ruled out or far less likely than what is shown."""
    key: str
    """What a form sends instead of telemetry text: a digest of cause and entity."""
    name: str
    where: str
    role: Word
    root: bool
    ruled_out: bool
    percent: str
    score: float
    tone: str
    supports: tuple[Argument, ...]
    contradicts: tuple[Argument, ...]
    missing: tuple[str, ...]
    """Symptoms that it would show and that are not seen."""
    path: tuple[Stop, ...]
    verdict: LabelVerdict | None
    """The last word of a person on it."""
    verdict_by: str


def cause_views(case: IncidentCase) -> tuple[CauseView, ...]:
    """The causes, best first."""
    incident = case.incident
    evidence = {e.id: e for e in incident.evidence}
    shown = _shown(incident.causes)
    return tuple(
        _view(case, rank, cause, evidence, folded=cause not in shown)
        for rank, cause in enumerate(incident.causes[:CAUSES_MAX], start=1)
    )


def _shown(causes: tuple[Cause, ...]) -> list[Cause]:
    """The first, every root, and the few others that come near or matter by themselves."""
    shown = list(causes[:1])
    for cause in causes[1:]:
        near = cause.score >= min(UNLIKELY, NEAR * causes[0].score)
        wanted = cause.role is not CauseRole.RULED_OUT and near and len(shown) < SHOWN_MAX
        if cause.role is CauseRole.ROOT or wanted:
            shown.append(cause)
    return shown


def _view(
    case: IncidentCase, rank: int, cause: Cause, evidence: dict[str, Evidence], *, folded: bool
) -> CauseView:
    most = ARGUMENTS_MAX if rank == 1 else ARGUMENTS_LATER
    said = [x for x in case.labels if (x.cause, x.entity) == (cause.cause, cause.entity)]
    last = said[-1] if said else None
    return CauseView(
        rank=rank,
        folded=folded,
        key=cause_key(cause),
        name=humanise(cause.cause),
        where=name_of(cause.entity),
        role=ROLE[cause.role],
        root=cause.role is CauseRole.ROOT,
        ruled_out=cause.role is CauseRole.RULED_OUT,
        percent=percent(cause.score),
        score=min(1.0, max(0.0, cause.score)),
        tone=_METER.get(cause.role, "mut"),
        supports=_arguments(cause.supports, cause, evidence, most),
        contradicts=_arguments(
            tuple(ref for ref in cause.contradicts if not ref.startswith(_ABSENT)),
            cause,
            evidence,
            most,
        ),
        missing=_missing(cause.contradicts),
        path=tuple(Stop(kind_word(entity), name_of(entity)) for entity in cause.path),
        verdict=last.verdict if last else None,
        verdict_by=last.by if last else "",
    )


def cause_key(cause: Cause) -> str:
    """The same cause of the same entity has the same key, whatever its rank."""
    return event_id(cause.cause, cause.entity)


def _missing(refs: tuple[str, ...]) -> tuple[str, ...]:
    """Titles of symptoms that should be there, each once, bounded."""
    absent = (ref.removeprefix(_ABSENT) for ref in refs if ref.startswith(_ABSENT))
    return tuple(dict.fromkeys(title(name) for name in absent))[:ARGUMENTS_MAX]


def _arguments(
    refs: tuple[str, ...], cause: Cause, evidence: dict[str, Evidence], most: int
) -> tuple[Argument, ...]:
    told = [argument(ref, cause, evidence) for ref in refs[:most]]
    if len(refs) > most:
        told.append(Argument(f"and {len(refs) - most} more"))
    return tuple(told)


def argument(ref: str, cause: Cause, evidence: dict[str, Evidence]) -> Argument:
    """A reference to evidence in words."""
    found = evidence.get(ref)
    if found is None:
        return Argument(ref)
    moved = {Direction.UP: " up", Direction.DOWN: " down", Direction.PRESENT: ""}[found.direction]
    text = prose(found.detail) or f"{title(found.symptom)}{moved}"
    return Argument(
        text if found.entity == cause.entity else f"{name_of(found.entity)}: {text}", ref
    )
