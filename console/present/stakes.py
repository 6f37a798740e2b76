"""What a decision puts at stake: what stands on the nodes that a plan takes, and what their pool
keeps. Called for the incident page, where somebody is about to approve."""

from dataclasses import dataclass

from console.deps import FleetNow
from console.figures import name_of
from console.present.plan import open_steps
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.model.plans import Plan, Session
from fleetmend.views.names import pool_of


@dataclass(frozen=True, slots=True)
class Stakes:
    """In words, for the dialog; empty where nothing is known."""

    stands_there: str
    """`8 GPUs and 2 engines on node-7`."""
    keeps: str
    """`pool chat keeps 88 of 96 GPUs (92 %)`."""


def stakes(now: FleetNow, plan: Plan, session: Session | None) -> Stakes:
    """Of the nodes that the open steps of a plan name, as the fleet is now."""
    targets = dict.fromkeys(step.target for step in open_steps(plan, session))
    nodes = [target for target in targets if kind_of(target) is EntityKind.NODE]
    if not nodes:
        return Stakes("", "")
    topology = now.topology
    gpus = {gpu for node in nodes for gpu in _gpus(now, node)}
    hosts = (*nodes, *gpus)
    engines = {
        engine
        for host in hosts
        for engine in topology.sources(host, RelationKind.RUNS_ON)
        if kind_of(engine) is EntityKind.ENGINE
    }
    names = ", ".join(name_of(node) for node in nodes)
    there = f"{_count(len(gpus), 'GPU')} and {_count(len(engines), 'engine')} on {names}"
    return Stakes(there, _keeps(now, frozenset(nodes)))


def _keeps(now: FleetNow, taken: frozenset[EntityId]) -> str:
    pool = pool_of(now.topology, min(taken))
    if not pool:
        return ""
    every = [
        node
        for node in now.topology.of_kind(EntityKind.NODE)
        if pool_of(now.topology, node) == pool
    ]
    total = sum(len(_gpus(now, node)) for node in every)
    left = sum(len(_gpus(now, node)) for node in every if node not in taken | now.out)
    share = f" ({left / total:.0%})" if total else ""
    return f"pool {pool} keeps {left} of {_count(total, 'GPU')} on nodes in service{share}"


def _gpus(now: FleetNow, node: EntityId) -> list[EntityId]:
    parts = now.topology.sources(node, RelationKind.PART_OF)
    return [part for part in parts if kind_of(part) is EntityKind.GPU]


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"
