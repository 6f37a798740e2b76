"""How bad an incident is: the severity table, decided from what was measured.

P0: availability of a model below its target, or a GPU lost. P1: requests slow for minutes, or
answered wrongly, or a whole domain not heard. P2: GPU memory nearly full, and what is slow but not
yet for minutes. P3: the rest. A fault class only hints where the table has nothing to say. Called
by `rca.record`; pure.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Severity
from fleetmend.settings.rca import SeveritySettings
from fleetmend.views.coverage import DOMAINS
from fleetmend.views.topology import TopologyView
from rca.evidence import Observation
from rca.knowledge.model import Effect, FaultClass

_LATENCIES = ("engine.ttft_", "engine.e2e_", "engine.queue_time_")
_DOWN_SIGNS = frozenset({"engine_hung", "engine_died", "probe_failed", "silent"})
"""Signs of an engine that serves nothing."""


@dataclass(frozen=True, slots=True)
class Graded:
    """A severity and the sentence that says why."""

    severity: Severity
    reason: str


def grade(
    fault: FaultClass | None,
    *,
    root: EntityId,
    evidence: Sequence[Observation],
    onset_s: float,
    now_s: float,
    topology: TopologyView,
    settings: SeveritySettings,
) -> Graded:
    """The severity of a fault with what is seen of it; `fault` is None while no cause is known."""
    effect = None if fault is None else fault.effect
    if effect is Effect.GPU_LOST:
        return Graded(Severity.P0, "a GPU is lost to the fleet")
    if effect is Effect.NO_SERVICE:
        return _availability(fault, root, evidence, topology, settings)
    if effect is Effect.WRONG:
        return Graded(Severity.P1, "an engine answers wrongly")
    if effect is Effect.BLIND and kind_of(root) in DOMAINS:
        return Graded(Severity.P1, "nothing of a whole domain is heard: a fault in it is not seen")
    slow = _latency(evidence, onset_s=onset_s, now_s=now_s, settings=settings)
    if slow is not None and slow.severity is Severity.P1:
        return slow
    full = _memory(effect, evidence, settings)
    if full is not None:
        return full
    if slow is not None:
        return slow
    if fault is None:
        return Graded(Severity.P3, "no known fault explains what is seen")
    # A hint never outranks what the table would need measured figures for.
    hint = max(fault.severity, Severity.P2)
    return Graded(hint, f"{effect_words(fault.effect)}; no limit of the severity table is passed")


def effect_words(effect: Effect) -> str:
    """What an effect means, in words."""
    return {
        Effect.GPU_LOST: "a GPU is lost",
        Effect.NO_SERVICE: "an engine serves nothing",
        Effect.SLOW: "requests are served more slowly",
        Effect.MEMORY: "GPU memory runs out",
        Effect.WRONG: "an engine answers wrongly",
        Effect.RISK: "nothing is lost yet",
        Effect.BLIND: "only the view is lost",
    }[effect]


def _availability(
    fault: FaultClass | None,
    root: EntityId,
    evidence: Sequence[Observation],
    topology: TopologyView,
    settings: SeveritySettings,
) -> Graded:
    down = {seen.entity for seen in evidence if seen.sign in _DOWN_SIGNS}
    down |= _engines_on(root, topology)
    engines = {entity for entity in down if kind_of(entity) is EntityKind.ENGINE}
    worst: tuple[float, str] | None = None
    for engine in sorted(engines):
        model = next(iter(topology.targets(engine, RelationKind.SERVES)), None)
        serving = set(topology.sources(model, RelationKind.SERVES)) if model else {engine}
        share = 1.0 - len(serving & engines) / len(serving)
        name = "its engine" if model is None else f"the engines of {model.rsplit('/', 1)[-1]}"
        if worst is None or share < worst[0]:
            worst = share, f"{share:.1%} of {name} serve"
    if worst is not None and worst[0] < settings.availability_min:
        return Graded(Severity.P0, f"{worst[1]}, below {settings.availability_min:.1%}")
    if worst is not None:
        return Graded(Severity.P1, f"{worst[1]}: capacity is lost, service is not")
    hint = Severity.P1 if fault is None else fault.severity
    return Graded(hint, "an engine serves nothing")


def _engines_on(root: EntityId, topology: TopologyView) -> set[EntityId]:
    """The engines that stop with the root: itself, or what runs on a GPU."""
    if kind_of(root) is EntityKind.ENGINE:
        return {root}
    if kind_of(root) is EntityKind.GPU:
        return set(topology.sources(root, RelationKind.RUNS_ON))
    return set()


def _latency(
    evidence: Sequence[Observation],
    *,
    onset_s: float,
    now_s: float,
    settings: SeveritySettings,
) -> Graded | None:
    slowest = max(
        (
            seen.symptom.observed
            for seen in evidence
            if seen.symptom.name.startswith(_LATENCIES)
            and seen.symptom.direction is Direction.UP
            and seen.symptom.observed is not None
        ),
        default=0.0,
    )
    if slowest <= settings.latency_max_s:
        return None
    what = f"requests wait {slowest:.1f} s, over {settings.latency_max_s:g} s"
    lasted_s = now_s - onset_s
    if lasted_s >= settings.latency_for_s:
        return Graded(Severity.P1, f"{what}, for {lasted_s / 60:.0f} minutes")
    return Graded(Severity.P2, f"{what}; P1 when it lasts {settings.latency_for_s / 60:g} minutes")


def _memory(
    effect: Effect | None, evidence: Sequence[Observation], settings: SeveritySettings
) -> Graded | None:
    shares = [
        seen.symptom.observed
        for seen in evidence
        if seen.symptom.name == "gpu.memory_usage" and seen.symptom.observed is not None
    ]
    if shares and max(shares) > settings.memory_share_max:
        return Graded(
            Severity.P2,
            f"{max(shares):.0%} of GPU memory in use, over {settings.memory_share_max:.0%}",
        )
    if any(seen.sign == "memory_full" for seen in evidence):
        return Graded(Severity.P2, "next to no GPU memory is free")
    if effect is Effect.MEMORY:
        return Graded(Severity.P2, "GPU memory runs out while this goes on")
    return None
