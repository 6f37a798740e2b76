"""Sentences about a diagnosis, made only of what was measured. Called by `rca.record`."""

from collections.abc import Sequence

from fleetmend.model.entities import EntityId, EntityKind, key_of, kind_of
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Abstention
from rca.evidence import Observation
from rca.infer import Ranked
from rca.knowledge.model import Knowledge
from rca.scene import Hypothesis, Scene

_DETAIL_MAX = 200
_KIND_WORDS = {EntityKind.GPU: "GPU", EntityKind.NIC: "NIC", EntityKind.MIG: "MIG instance"}
_UNITS = {"1": "", "s": " s", "W": " W", "MHz": " MHz", "Cel": " °C"}
_SCALES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def entity_words(entity: EntityId) -> str:
    """How a sentence names an entity: `GPU GPU-cf8d...`, `engine engine-0`."""
    kind = kind_of(entity)
    return f"{_KIND_WORDS.get(kind, kind.value)} {key_of(entity)}"


def title(
    root: Hypothesis | None,
    evidence: Sequence[Observation],
    knowledge: Knowledge,
    abstention: Abstention,
) -> str:
    """One line: the cause, or what is seen while there is none."""
    if root is None or abstention is Abstention.UNKNOWN_SIGNATURE:
        strongest = max(evidence, key=lambda seen: (seen.hard, seen.confidence, seen.key))
        return f"{entity_words(strongest.entity)}: {sign_words(strongest.sign, knowledge)}"
    sentence = f"{entity_words(root.entity)} {knowledge.classes[root.fault].title}"
    if abstention is Abstention.SMALL_MARGIN:
        return f"{sentence} (not certain)"
    if abstention is Abstention.BLIND:
        return f"{sentence} (much of it cannot be seen)"
    return sentence


def sign_words(sign: str, knowledge: Knowledge) -> str:
    """A sign's title; for a symptom that no sign knows its name."""
    known = knowledge.signs.get(sign)
    return sign.removeprefix("?") if known is None else known.title


def evidence_words(seen: Observation, knowledge: Knowledge) -> str:
    """One line about one sign: what it is and the figures behind it."""
    words = sign_words(seen.sign, knowledge)
    symptom = seen.symptom
    if symptom.observed is None:
        detail = seen.detail[:_DETAIL_MAX]
        return f"{words}: {detail}" if detail else words
    figure = f"{symptom.name} {_figure(symptom.observed, symptom.unit)}"
    if symptom.direction is Direction.UP and symptom.expected_high is not None:
        figure += f", expected at most {_figure(symptom.expected_high, symptom.unit)}"
    elif symptom.direction is Direction.DOWN and symptom.expected_low is not None:
        figure += f", expected at least {_figure(symptom.expected_low, symptom.unit)}"
    return f"{words}: {figure}"


def next_check(scene: Scene, first: Ranked | None, rivals: Sequence[Ranked]) -> str:
    """The check that would best tell the first cause from the next: the sign that one of them
    expects most and the other not, and that is not known yet; else the first class's own check."""
    if first is None:
        return "look at the findings on this entity and its neighbours; no fault class fits"
    own = scene.fault(first.hypothesis).next_check
    if not rivals:
        return own
    best = _telling_sign(scene, first.hypothesis, rivals[0].hypothesis)
    if best is None:
        return own
    sign, favours = best
    words = sign_words(sign, scene.knowledge)
    return f"{own}; to tell {first.hypothesis.fault} from {rivals[0].hypothesis.fault} see whether {words}: it speaks for {favours}"  # noqa: E501


def _telling_sign(scene: Scene, one: Hypothesis, other: Hypothesis) -> tuple[str, str] | None:
    strengths: dict[str, list[float]] = {}
    for index, hypothesis in enumerate((one, other)):
        for expected, places in scene.expects(hypothesis):
            if any((place, expected.sign) in scene.observed for place in places):
                continue
            if places:
                pair = strengths.setdefault(expected.sign, [0.0, 0.0])
                pair[index] = max(pair[index], expected.strength)
    if not strengths:
        return None
    sign, (first, second) = max(
        strengths.items(), key=lambda item: (abs(item[1][0] - item[1][1]), item[0])
    )
    return None if first == second else (sign, one.fault if first > second else other.fault)


def _figure(value: float, unit: str) -> str:
    """A number as a person reads it: shares as per cent, bytes and rates with a prefix."""
    if unit == "1":
        return f"{value:.0%}" if abs(value) <= 1.0 else f"{value:.3g}"
    if unit in ("s", "W", "MHz", "Cel"):
        return f"{value:.3g}{_UNITS[unit]}" if abs(value) < 1000 else f"{value:.0f}{_UNITS[unit]}"
    suffix = unit.replace("By", "B").replace("{", "").replace("}", "")
    for scale, prefix in _SCALES:
        if abs(value) >= scale:
            return f"{value / scale:.3g} {prefix}{suffix}".strip()
    return f"{value:.3g} {suffix}".strip()
