"""How a simulated fleet's incidents and acts are judged against what was done to it.

Pure functions, called by `fleetmend simulate`. A fault reaches several entities at once (a GPU, its
engine, its node), so unlike the labels of a recording it has no single right entity.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from fleetmend.model.entities import EntityId
from fleetmend.scoring.score import quantile

GRACE_S = 60.0
"""For so long after a fault's end an incident may still be about it."""


@dataclass(frozen=True, slots=True)
class Done:
    """A fault that was made, and how it ended."""

    id: str
    cause: str
    """What a right diagnosis names."""
    affected: frozenset[EntityId]
    """Entities that a right diagnosis may name."""
    started_at_s: float
    ended_at_s: float | None
    benign: bool
    """A lawful change: an incident about it is a false alarm."""
    by_people: bool
    """It ended only because a person mended it at last."""

    def holds(self, at_s: float) -> bool:
        """Whether it, or its aftermath, was going on at that moment."""
        end_s = float("inf") if self.ended_at_s is None else self.ended_at_s + GRACE_S
        return self.started_at_s <= at_s <= end_s


@dataclass(frozen=True, slots=True)
class Blamed:
    """An opening: an incident, or an update that blames something new."""

    id: str
    at_s: float
    cause: str
    """Empty when no cause was named."""
    entity: EntityId


@dataclass(frozen=True, slots=True)
class Act:
    """Something that the platform did to an entity."""

    action: str
    entity: EntityId
    at_s: float


@dataclass(slots=True)
class Answered:
    """What became of one fault."""

    fault: Done
    right: list[Blamed] = field(default_factory=list)
    """Cause and place are right; the first found it, the others repeat it."""
    misnamed: list[Blamed] = field(default_factory=list)
    """On what it reached, but by another name, or by none."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every fault with its answers, and what answers nothing."""

    answered: tuple[Answered, ...]
    false: tuple[Blamed, ...]
    """About entities that no fault had reached."""
    wrong_acts: tuple[Act, ...]
    """Done to what no fault had reached."""

    def figures(self) -> dict[str, float | int | None]:
        """The figures by name, counts and seconds."""
        asked = [one for one in self.answered if not one.fault.benign]
        ended = [one.fault for one in asked if one.fault.ended_at_s is not None]
        mttr_s = sorted((f.ended_at_s or 0.0) - f.started_at_s for f in ended)
        delays_s = sorted(a.right[0].at_s - a.fault.started_at_s for a in asked if a.right)
        openings = [*(o for a in self.answered for o in (*a.right, *a.misnamed)), *self.false]
        return {
            "faults": len(asked),
            "found": sum(bool(one.right or one.misnamed) for one in asked),
            "named_first": sum(_named_first(one) for one in asked),
            "named": sum(bool(one.right) for one in asked),
            "openings": len(openings),
            "more_than_one": sum(len(one.right) + len(one.misnamed) > 1 for one in asked),
            "false": len(self.false)
            + sum(len(a.right) + len(a.misnamed) for a in self.answered if a.fault.benign),
            "ended": len(ended),
            "ended_without_people": sum(not fault.by_people for fault in ended),
            "delay_p50_s": quantile(delays_s, 0.5),
            "mttr_p50_s": quantile(mttr_s, 0.5),
            "mttr_p95_s": quantile(mttr_s, 0.95),
            "wrong_acts": len(self.wrong_acts),
        }


def judge(faults: Sequence[Done], openings: Sequence[Blamed], acts: Sequence[Act]) -> Judgement:
    """Give each opening, in order of time, to the fault that it answers best.

    That is one whose cause and place it names; else the youngest on whose entities it is; else it
    is false.
    """
    answered = [Answered(fault) for fault in sorted(faults, key=lambda f: (f.started_at_s, f.id))]
    false = []
    for opening in sorted(openings, key=lambda o: (o.at_s, o.id)):
        near = [
            one
            for one in reversed(answered)
            if one.fault.holds(opening.at_s) and opening.entity in one.fault.affected
        ]
        right = next((one for one in near if one.fault.cause == opening.cause), None)
        if right is not None:
            right.right.append(opening)
        elif near:
            near[0].misnamed.append(opening)
        else:
            false.append(opening)
    wrong = tuple(act for act in acts if not _had_cause(act, faults))
    return Judgement(tuple(answered), tuple(false), wrong)


def _named_first(one: Answered) -> bool:
    """The first that was said of it was right."""
    said = sorted((*one.right, *one.misnamed), key=lambda opening: (opening.at_s, opening.id))
    return bool(said) and said[0] in one.right


def _had_cause(act: Act, faults: Sequence[Done]) -> bool:
    return any(
        act.entity in fault.affected and fault.holds(act.at_s)
        for fault in faults
        if not fault.benign
    )
