"""The figures of a replay: what `fleetmend evaluate` prints."""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetmend.scoring.match import FALSE, Matching, Outcome, is_right, match
from fleetmend.scoring.records import Label, Names, Opening, cause_rank
from fleetmend.scoring.windows import calm_s


@dataclass(frozen=True, slots=True)
class Score:
    """Counts over the labels that ask for an incident, and over openings."""

    name: str
    labels: int
    detected: int
    cause_top1: int
    cause_top3: int
    entity_right: int
    false_incidents: int
    lingering: int
    openings: int
    calm_minutes: float
    delays_s: tuple[float, ...]
    """Label start to opening, of the detected labels, ascending."""

    def row(self) -> dict[str, str | int | float | None]:
        """The figures by name, as they are printed; delays come with their n."""
        return {
            "name": self.name,
            "labels": self.labels,
            "detected": self.detected,
            "cause_top1": self.cause_top1,
            "cause_top3": self.cause_top3,
            "entity_right": self.entity_right,
            "false_incidents": self.false_incidents,
            "lingering": self.lingering,
            "openings": self.openings,
            "calm_minutes": round(self.calm_minutes, 2),
            "delay_p50_s": _rounded(quantile(self.delays_s, 0.5)),
            "delay_p95_s": _rounded(quantile(self.delays_s, 0.95)),
            "delay_n": len(self.delays_s),
        }


@dataclass(frozen=True, slots=True)
class LabelResult:
    """What became of one label."""

    label: Label
    opening: Opening | None
    """The opening that was matched to it, right or wrong."""
    detected: bool
    cause_rank: int | None
    entity_right: bool
    delay_s: float | None


def score_recording(
    name: str,
    *,
    openings: Sequence[Opening],
    labels: Sequence[Label],
    names: Names,
    span_s: tuple[float, float],
) -> Score:
    """Judge one recording; `span_s` is its start and end."""
    matching = match(openings, labels, names)
    results = label_results(matching, names)
    outcomes = [judged.outcome for judged in matching.judged]
    ranks = [result.cause_rank for result in results if result.cause_rank is not None]
    return Score(
        name=name,
        labels=len(results),
        detected=sum(result.detected for result in results),
        cause_top1=sum(rank == 1 for rank in ranks),
        cause_top3=sum(rank <= 3 for rank in ranks),
        entity_right=sum(result.entity_right for result in results),
        false_incidents=sum(outcome in FALSE for outcome in outcomes),
        lingering=outcomes.count(Outcome.LINGERING),
        openings=len(outcomes),
        calm_minutes=calm_s(matching.labels, start_s=span_s[0], end_s=span_s[1]) / 60.0,
        delays_s=tuple(sorted(r.delay_s for r in results if r.delay_s is not None)),
    )


def label_results(matching: Matching, names: Names) -> tuple[LabelResult, ...]:
    """One result for each label that asks for an incident, in order of start."""
    results = []
    for index, label in enumerate(matching.labels):
        if not label.asked:
            continue
        opening = matching.answers.get(index)
        if opening is None:
            results.append(LabelResult(label, None, False, None, False, None))
            continue
        detected = is_right(opening, label, names)
        results.append(
            LabelResult(
                label=label,
                opening=opening,
                detected=detected,
                cause_rank=cause_rank(opening, label),
                entity_right=names.entity_right(opening, label),
                delay_s=opening.at_s - label.start_s if detected else None,
            )
        )
    return tuple(results)


def total(scores: Sequence[Score], *, name: str = "total") -> Score:
    """All recordings together; delays are pooled, not averaged."""
    return Score(
        name=name,
        labels=sum(score.labels for score in scores),
        detected=sum(score.detected for score in scores),
        cause_top1=sum(score.cause_top1 for score in scores),
        cause_top3=sum(score.cause_top3 for score in scores),
        entity_right=sum(score.entity_right for score in scores),
        false_incidents=sum(score.false_incidents for score in scores),
        lingering=sum(score.lingering for score in scores),
        openings=sum(score.openings for score in scores),
        calm_minutes=sum(score.calm_minutes for score in scores),
        delays_s=tuple(sorted(delay for score in scores for delay in score.delays_s)),
    )


def quantile(ascending: Sequence[float], share: float) -> float | None:
    """The `share` quantile with linear interpolation between ranks; None without values."""
    if not ascending:
        return None
    position = share * (len(ascending) - 1)
    below = int(position)
    above = min(below + 1, len(ascending) - 1)
    return ascending[below] + (position - below) * (ascending[above] - ascending[below])


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
