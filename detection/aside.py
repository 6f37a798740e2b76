"""What the cluster has been told to end or to take out: lawful endings, which nobody is accused of.

Three things are known from the topology, not guessed from figures. An engine whose pod terminates
gets no new request, finishes what it has and goes: its figures fall, and those of its GPUs. A GPU
that gets another engine, or loses the one it had, has another normal from then on. A node that
somebody else has cordoned with a taint of his own, and that no engine runs on, may fall silent.
What the hardware itself says (Xids, ECC, throttling) is never set aside, nor a finding that was
open before. Called by the stage.
"""

from collections.abc import Callable, Collection, Container, Iterable

import numpy as np
from pydantic import TypeAdapter

from detection.base import Opinion
from detection.blocks import Block
from detection.frame import Frame
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    kind_of,
)
from fleetmend.model.events import Witness
from fleetmend.streams.stage import Json, State
from fleetmend.views.topology import TopologyView

_ENDING_S = 600.0
"""A pod that has not gone after so long hangs in its end, which is no lawful ending any more."""
_OF_WORK = frozenset({"baseline", "forest", "leak", "watchdog", "relation"})
"""Detectors that judge by the work in hand."""
_OF_SERVICE = frozenset({"probe_failed", "slow_first_token", "kv_pressure"})
"""Reasons of rules that judge by the service."""
_OF_SCRAPER = ("engine.scrape", "engine.probe", "engine.canary")
"""Signals of an engine that whoever looks at it adds."""
_ABOUT_NODE = frozenset({"node_condition"})
_SAVED = TypeAdapter(dict[EntityId, float])
_NAMES = TypeAdapter(list[EntityId])


class Aside:
    """Engines that end, engines that have not spoken yet, nodes that are out."""

    def __init__(self) -> None:
        self._ending: dict[EntityId, float] = {}
        """Engine whose pod terminates -> event time of the word."""
        self._fresh: set[EntityId] = set()
        """Engines that got their GPUs and have not been heard yet."""
        self._out: set[EntityId] = set()
        """Nodes that somebody else has cordoned and tainted."""
        self._moved: set[EntityId] = set()
        """GPUs that got or lost an engine in this tick."""

    def take(
        self,
        change: TopologyChange,
        before: TopologyView,
        heard: Container[EntityId],
        accused: Callable[[Collection[EntityId]], bool],
    ) -> None:
        """One change, before the topology has taken it in; `heard`: GPUs that have a past;
        `accused`: whether a finding stands against one of some entities."""
        kind = kind_of(change.entity)
        match change.op:
            case TopologyOp.ENTITY if kind is EntityKind.ENGINE:
                known = "terminating" in before.attributes.get(change.entity, {})
                parts = (change.entity, *before.targets(change.entity, RelationKind.RUNS_ON))
                # Who is sick already does not end in peace: what it shows is its sickness.
                if "terminating" in change.attributes and not known and not accused(parts):
                    self._ending.setdefault(change.entity, change.at_s)
            case TopologyOp.ENTITY if kind is EntityKind.NODE:
                told = change.attributes
                out = "unschedulable" in told and bool(told.get("taints"))
                (self._out.add if out else self._out.discard)(change.entity)
            case TopologyOp.RELATION if change.relation is RelationKind.RUNS_ON:
                gpu = EntityId(change.target)
                if gpu in heard and gpu not in before.targets(change.entity, RelationKind.RUNS_ON):
                    self._moved.add(gpu)
                    self._fresh.add(change.entity)
            case TopologyOp.ENTITY_GONE:
                self._ending.pop(change.entity, None)
                self._fresh.discard(change.entity)
                self._out.discard(change.entity)
                gone = before.targets(change.entity, RelationKind.RUNS_ON)
                self._moved.update(gpu for gpu in gone if gpu in heard)

    def anew(self, frame: Frame) -> list[int]:
        """Rows of GPUs whose past is another engine's, or of an engine that still loads."""
        engine, gpu = frame.blocks.get(EntityKind.ENGINE), frame.blocks.get(EntityKind.GPU)
        heard = _heard(engine, self._fresh)
        waiting = (
            g for e in self._fresh - heard for g in frame.topology.targets(e, RelationKind.RUNS_ON)
        )
        # Once more in the tick in which an engine is heard first: from here on it is its own.
        first = (g for e in heard for g in frame.topology.targets(e, RelationKind.RUNS_ON))
        wanted = self._moved.union(waiting, first)
        self._fresh -= heard
        self._moved = set()
        if gpu is None:
            return []
        return sorted(gpu.row[g] for g in wanted if g in gpu.row)

    def explains(self, frame: Frame, opinion: Opinion) -> bool:
        """Whether a lawful ending shows what the opinion holds."""
        match kind_of(opinion.entity):
            case EntityKind.ENGINE:
                of_work = opinion.detector in _OF_WORK or opinion.reason in _OF_SERVICE
                silent = opinion.witness is Witness.SILENCE
                return (of_work or silent) and self._ends(frame, opinion.entity)
            case EntityKind.GPU:
                engines = frame.topology.sources(opinion.entity, RelationKind.RUNS_ON)
                if opinion.detector in _OF_WORK:
                    return any(self._ends(frame, engine) for engine in engines)
                return opinion.witness is Witness.SILENCE and self._is_out(frame, opinion.entity)
            case EntityKind.NODE | EntityKind.COLLECTOR:
                lawful = opinion.witness is Witness.SILENCE or opinion.reason in _ABOUT_NODE
                return lawful and self._is_out(frame, opinion.entity)
            case _:
                return False

    def _ends(self, frame: Frame, engine: EntityId) -> bool:
        since_s = self._ending.get(engine)
        return since_s is not None and frame.end_s - since_s <= _ENDING_S

    def _is_out(self, frame: Frame, entity: EntityId) -> bool:
        if not self._out:
            return False
        nodes: Iterable[EntityId | None] = (frame.node_of(entity),)
        if kind_of(entity) is EntityKind.COLLECTOR:
            nodes = frame.topology.targets(entity, RelationKind.OBSERVES)
        found = [node for node in nodes if node is not None]
        return bool(found) and all(n in self._out and _empty(frame, n) for n in found)

    def snapshot(self) -> State:
        """What is known to end, to begin, to be out."""
        ending: dict[str, Json] = {str(e): at_s for e, at_s in sorted(self._ending.items())}
        fresh: list[Json] = [str(e) for e in sorted(self._fresh)]
        out: list[Json] = [str(e) for e in sorted(self._out)]
        return {"ending": ending, "fresh": fresh, "out": out}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._ending = _SAVED.validate_python(state["ending"])
        self._fresh = set(_NAMES.validate_python(state["fresh"]))
        self._out = set(_NAMES.validate_python(state["out"]))
        self._moved = set()


def _heard(engine: Block | None, asked: set[EntityId]) -> set[EntityId]:
    """Which of these engines give figures of their own; a scraper's failures are none."""
    if engine is None or not asked:
        return set()
    own = [c for c, name in enumerate(engine.signals) if not name.startswith(_OF_SCRAPER)]
    told = np.isfinite(engine.cells["known"][:, own]).any(axis=1)
    return {e for e in asked if (row := engine.row.get(e)) is not None and told[row]}


def _empty(frame: Frame, node: EntityId) -> bool:
    """No engine runs on the node."""
    gpus = frame.topology.sources(node, RelationKind.PART_OF)
    return not any(
        kind_of(user) is EntityKind.ENGINE
        for place in (node, *gpus)
        for user in frame.topology.sources(place, RelationKind.RUNS_ON)
    )
