"""Which opening answers which label, and what the others are.

Called by `fleetmend.scoring.score`. Everything is decided in order of time, so that nothing that
was published later can better or spoil an earlier answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from fleetmend.scoring.records import Label, Names, Opening, cause_rank
from fleetmend.scoring.windows import window_end_s

LINGERING_S = 60.0
"""For this long after a label's end its own (cause, entity) is lingering, not false."""
TOP = 3
"""How many causes of an opening are looked at."""


class Outcome(StrEnum):
    """What an opening is worth."""

    ANSWERS = "answers"
    WRONG = "wrong"
    """The first in its window, blaming something else: it takes the label's one match and is
    false."""
    CONSEQUENCE = "consequence"
    """About another entity, with the labelled root named first: right, never false."""
    DUPLICATE = "duplicate"
    LINGERING = "lingering"
    ELSEWHERE = "elsewhere"
    BENIGN = "benign"
    UNASKED = "unasked"
    """In an ambiguous label: counts nowhere."""


FALSE = frozenset({Outcome.WRONG, Outcome.DUPLICATE, Outcome.ELSEWHERE, Outcome.BENIGN})


@dataclass(frozen=True, slots=True)
class Judged:
    """An opening and what it is worth."""

    opening: Opening
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Matching:
    """The judged openings in order of time, and each label's answer by its index in `labels`."""

    labels: tuple[Label, ...]
    judged: tuple[Judged, ...]
    answers: dict[int, Opening]
    """Label index -> the opening that was matched to it, right or wrong."""


def is_right(opening: Opening, label: Label, names: Names) -> bool:
    """`detected`: the entity right or the cause among its first three."""
    rank = cause_rank(opening, label)
    return names.entity_right(opening, label) or (rank is not None and rank <= TOP)


def match(openings: Sequence[Opening], labels: Sequence[Label], names: Names) -> Matching:
    """Labels and incidents one to one, earliest first; labels that overlap may share one."""
    ordered = tuple(sorted(labels, key=lambda label: (label.start_s, label.end_s, label.cause)))
    windows = [window_end_s(label, ordered) for label in ordered]
    answers: dict[int, Opening] = {}
    judged = []
    for opening in sorted(openings, key=lambda opening: (opening.at_s, opening.id)):
        group = _group(opening, ordered, windows)
        outcome = _judge(opening, group, ordered, answers, names)
        judged.append(Judged(opening, outcome))
    _share(ordered, windows, answers, names)
    return Matching(ordered, tuple(judged), answers)


def _group(opening: Opening, labels: Sequence[Label], windows: Sequence[float]) -> list[int]:
    """The latest label that started before the opening, if its window is still open, and the open
    labels that overlap it; oldest first."""
    started = [i for i, label in enumerate(labels) if label.start_s <= opening.at_s]
    if not started:
        return []
    latest = started[-1]
    return [
        i
        for i in started
        if (i == latest or labels[i].overlaps(labels[latest])) and opening.at_s <= windows[i]
    ]


def _judge(
    opening: Opening,
    group: Sequence[int],
    labels: Sequence[Label],
    answers: dict[int, Opening],
    names: Names,
) -> Outcome:
    if not any(names.names_root(opening, labels[i]) for i in group) and _lingers(
        opening, [label for i, label in enumerate(labels) if i not in group], names
    ):
        return Outcome.LINGERING
    asked = [i for i in group if labels[i].asked]
    free = [i for i in asked if i not in answers]
    right = [i for i in free if is_right(opening, labels[i], names)]
    if right:
        best = max(right, key=lambda i: (*_closeness(opening, labels[i], names), i))
        answers[best] = opening
        return Outcome.ANSWERS
    if any(labels[i].ambiguous for i in group):
        return Outcome.UNASKED
    if free and free[-1] == group[-1]:
        answers[free[-1]] = opening
        return Outcome.WRONG
    if any(_is_consequence(opening, labels[i], names) for i in asked):
        return Outcome.CONSEQUENCE
    if asked:
        return Outcome.DUPLICATE
    return Outcome.BENIGN if group else Outcome.ELSEWHERE


def _closeness(opening: Opening, label: Label, names: Names) -> tuple[bool, int]:
    """Which of two overlapping labels an opening rather answers: its own root, then its cause."""
    rank = cause_rank(opening, label)
    return names.names_root(opening, label), -(rank if rank is not None else TOP + 1)


def _lingers(opening: Opening, earlier: Sequence[Label], names: Names) -> bool:
    """Repeats the (cause, entity) of an earlier label within 60 s of that label's end."""
    return any(
        label.start_s <= opening.at_s <= label.end_s + LINGERING_S
        and names.names_root(opening, label)
        for label in earlier
        if not label.benign
    )


def _is_consequence(opening: Opening, label: Label, names: Names) -> bool:
    about_another = names.one(opening.entity) not in names.places(label)
    return bool(opening.entity) and about_another and names.names_root(opening, label)


def _share(
    labels: Sequence[Label], windows: Sequence[float], answers: dict[int, Opening], names: Names
) -> None:
    """Give labels without an answer the incident of a label that overlaps them in time."""
    for i, label in enumerate(labels):
        if i in answers or not label.asked:
            continue
        shared = [
            opening
            for j, opening in sorted(answers.items())
            if label.overlaps(labels[j])
            and label.start_s <= opening.at_s <= windows[i]
            and is_right(opening, label, names)
        ]
        if shared:
            answers[i] = min(shared, key=lambda opening: (opening.at_s, opening.id))
