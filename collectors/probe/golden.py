"""Whether an answer to a golden prompt is the one that it always was. Pure.

The reference is learnt from the replica itself: answers in a row that agree. Another build of the
engine or model has another reference, so a rollout is no miss. A replica that was already wrong
while it was learnt from is not seen.
"""

import math
from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.settings.probe import GoldenSettings


class Verdict(StrEnum):
    """What a comparison says."""

    LEARNING = "learning"
    """There is no reference yet, or none for this build."""
    MATCH = "match"
    DRIFT = "drift"
    """The same tokens with other log-probabilities."""
    OTHER_TOKEN = "other_token"  # noqa: S105  a verdict, no secret
    UNSTATED = "unstated"
    """The engine gave no log-probabilities: nothing can be compared."""


MISSES = frozenset({Verdict.DRIFT, Verdict.OTHER_TOKEN})


@dataclass(frozen=True, slots=True)
class Said:
    """Tokens with their log-probabilities."""

    tokens: tuple[str, ...]
    logprobs: tuple[float, ...]


@dataclass(slots=True)
class Memory:
    """What is known of one prompt at one replica."""

    build: str = ""
    reference: Said | None = None
    checked: int = 0
    missed: int = 0
    in_a_row: int = 0
    """Misses since the last match."""
    learning: list[Said] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Checked:
    """One comparison."""

    verdict: Verdict
    distance: float = math.nan
    """Largest distance of a log-probability, in nats; NaN where tokens differ."""
    at_token: int = 0
    """Where it was, or where the first other token stood."""


def check(memory: Memory, said: Said, build: str, settings: GoldenSettings) -> Checked:
    """Compare an answer and remember it."""
    if not said.tokens or all(math.isnan(value) for value in said.logprobs):
        return Checked(Verdict.UNSTATED)
    if build != memory.build:
        memory.build, memory.reference = build, None
        memory.in_a_row = 0
        memory.learning.clear()
    if memory.reference is None:
        _learn(memory, said, settings)
        return Checked(Verdict.LEARNING)
    found = compare(memory.reference, said, settings.tolerance)
    memory.checked += 1
    if found.verdict in MISSES:
        memory.missed += 1
        memory.in_a_row += 1
    else:
        memory.in_a_row = 0
    return found


def compare(reference: Said, said: Said, tolerance: float) -> Checked:
    """How far an answer is from its reference."""
    if said.tokens != reference.tokens:
        pairs = zip(reference.tokens, said.tokens, strict=False)
        at = next((at for at, (old, new) in enumerate(pairs) if old != new), -1)
        return Checked(
            Verdict.OTHER_TOKEN,
            at_token=at if at >= 0 else min(len(reference.tokens), len(said.tokens)),
        )
    far = [abs(new - old) for old, new in zip(reference.logprobs, said.logprobs, strict=True)]
    # A NaN where there was a number is the worst of all.
    worst = max(range(len(far)), key=lambda at: math.inf if math.isnan(far[at]) else far[at])
    near = far[worst] <= tolerance
    return Checked(Verdict.MATCH if near else Verdict.DRIFT, far[worst], worst)


def _learn(memory: Memory, said: Said, settings: GoldenSettings) -> None:
    """One answer more; an answer that does not agree with the first begins anew."""
    if memory.learning:
        found = compare(memory.learning[0], said, settings.tolerance)
        if found.verdict is not Verdict.MATCH:
            memory.learning.clear()
    memory.learning.append(said)
    if len(memory.learning) < settings.learn:
        return
    by_token = zip(*(each.logprobs for each in memory.learning), strict=True)
    means = tuple(sum(values) / len(values) for values in by_token)
    memory.reference = Said(said.tokens, means)
    memory.learning.clear()
