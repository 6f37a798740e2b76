"""Load that moves: engines that serve nothing leave their requests to the others of their model.

Called by `rca.sorting`: more load on the engines that are left is no fault of theirs, as long as
enough of them are gone, and a little longer.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

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
OUT = frozenset({"engine_died", "engine_hung", "probe_failed"})
"""Signs of an engine that serves nothing."""
LINGERS_S = 60.0
"""For so long after the engines are back their load is still about: queues drain, routers shift."""
_EXTRA_MIN = 0.125
"""Share of load on top from which it shows: one engine of nine gone. A judgement."""
_ENGINES = (Step(RelationKind.RUNS_ON, False),)
_MODELS = (Step(RelationKind.SERVES, True),)
_MEMBERS = (Step(RelationKind.SERVES, False),)


@dataclass(frozen=True, slots=True)
class Loss:
    """An engine that served nothing from one moment to another."""

    since_s: float
    until_s: float
    """The last moment at which it did not."""


def losses(
    before: Mapping[EntityId, Loss], scene: Scene, taken: Iterable[EntityId]
) -> dict[EntityId, Loss]:
    """What is lost now, by what is seen and by what we took out ourselves, and what was lost a
    little while ago."""
    now_s = scene.now_s
    since: dict[EntityId, float] = dict.fromkeys(taken, now_s)
    for (entity, sign), seen in scene.observed.items():
        if sign in OUT and kind_of(entity) is EntityKind.ENGINE and seen.hard > 0.0:
            since[entity] = min(seen.onset_s, since.get(entity, seen.onset_s))
    kept = {e: loss for e, loss in before.items() if now_s - loss.until_s <= LINGERS_S}
    for entity, since_s in since.items():
        first_s = kept[entity].since_s if entity in kept else since_s
        kept[entity] = Loss(first_s, now_s)
    return dict(sorted(kept.items()))


def moved_load(scene: Scene, lost: Mapping[EntityId, Loss]) -> set[Key]:
    """Signs of more load, seen where the requests of lost engines go."""
    by_model: dict[EntityId, set[EntityId]] = {}
    for engine in lost:
        for model in scene.graph.reached(engine, _MODELS, 1):
            by_model.setdefault(model, set()).add(engine)
    since = {
        model: min(lost[engine].since_s for engine in gone) - scene.settings.order_tolerance_s
        for model, gone in by_model.items()
        if _extra(scene, model, gone) >= _EXTRA_MIN
    }
    if not since:
        return set()
    return {
        key
        for key, seen in scene.observed.items()
        if key[1] in SHOWS
        and any(seen.latest_s >= since[m] for m in _served(scene, key[0], lost) if m in since)
    }


def _extra(scene: Scene, model: EntityId, gone: set[EntityId]) -> float:
    """Load on top for each engine that is left, as a share of what it had; 0 when none is left."""
    left = len({*scene.graph.reached(model, _MEMBERS, 1)} - gone)
    return len(gone) / left if left else 0.0


def _served(scene: Scene, entity: EntityId, lost: Mapping[EntityId, Loss]) -> list[EntityId]:
    """The models that an engine, or the engines on a GPU, serve; of those that are left."""
    own = kind_of(entity) is EntityKind.ENGINE
    engines = (entity,) if own else scene.graph.reached(entity, _ENGINES, 1)
    return [m for e in engines if e not in lost for m in scene.graph.reached(e, _MODELS, 1)]
