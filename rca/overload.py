"""What the loss of engines brings on the others: their requests go there.

Called by `rca.infer.standing`, so that a queue on the engines that are left belongs to the incident
of those that are gone, and by `rca.acts` for engines that we took out ourselves.
"""

from collections.abc import Iterable, Iterator

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from rca.evidence import Key
from rca.knowledge.model import Step
from rca.scene import Scene

SHOWS = frozenset(
    {
        "queue",
        "first_token_slow",
        "running_up",
        "arrivals_up",
        "generation_up",
        "prompt_tokens_up",
        "decode_slow",
        "requests_slow",
        "kv_up",
        "kv_pressure",
        "errors_up",
        "gpu_busy",
        "gpu_power_up",
        "gpu_compute_up",
        "gpu_dram_up",
        "gpu_hot",
        "gpu_memory_up",
        "pcie_traffic_up",
        "nvlink_traffic_up",
    }
)
"""Signs of more load."""
_MOST = 0.9
_PER_EXTRA = 2.0
"""Probability that a sign of load shows, for each whole share of load that comes on top: with half
of the engines gone the rest has twice the load, with one of forty gone 2.6 % more. A judgement."""
_ENGINES = (Step(RelationKind.RUNS_ON, False),)
_MODELS = (Step(RelationKind.SERVES, True),)
_MEMBERS = (Step(RelationKind.SERVES, False),)


def overload(scene: Scene, lost: Iterable[EntityId], *, since_s: float) -> dict[Key, float]:
    """Signs on engines left, and on their GPUs, that the loss of these engines at `since_s` would
    show, each with its probability."""
    gone = {engine for engine in lost if kind_of(engine) is EntityKind.ENGINE}
    models = {model for engine in gone for model in scene.graph.reached(engine, _MODELS, 1)}
    if not models:
        return {}
    strength = {model: _strength(scene, model, gone) for model in models}
    earliest_s = since_s - scene.settings.order_tolerance_s
    found: dict[Key, float] = {}
    for key, seen in scene.observed.items():
        if key[1] in SHOWS and seen.latest_s >= earliest_s:
            serves = set(_served(scene, key[0], gone)) & models
            if serves:
                found[key] = max(strength[model] for model in serves)
    return found


def _strength(scene: Scene, model: EntityId, gone: set[EntityId]) -> float:
    engines = set(scene.graph.reached(model, _MEMBERS, 1)) | gone
    left = len(engines - gone)
    return min(_MOST, _PER_EXTRA * len(engines & gone) / left) if left else 0.0


def _served(scene: Scene, entity: EntityId, gone: set[EntityId]) -> Iterator[EntityId]:
    """The models that an engine, or the engines on a GPU, serve; of those that are left."""
    own = kind_of(entity) is EntityKind.ENGINE
    for engine in (entity,) if own else scene.graph.reached(entity, _ENGINES, 1):
        if engine not in gone:
            yield from scene.graph.reached(engine, _MODELS, 1)
