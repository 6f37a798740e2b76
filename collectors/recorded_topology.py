"""What `meta.json` says of the fleet, as topology changes: hosts, GPUs, engines, links.

`collectors.replay` states it before the first sample. The recording's cluster and pool are both
called `recording`.
"""

from collectors.naming import gpu_alias, pci_address, pci_alias
from collectors.recording import GpuMeta, HostMeta, Meta
from fleetmend.errors import BadInput
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
    key_of,
    kind_of,
)

CLUSTER = "recording"
POOL = entity_id(CLUSTER, EntityKind.POOL, "recording")


def node_id(name: str) -> EntityId:
    """The entity of a host."""
    return entity_id(CLUSTER, EntityKind.NODE, name)


def engine_id(name: str) -> EntityId:
    """The entity of an engine."""
    return entity_id(CLUSTER, EntityKind.ENGINE, name)


def gpu_id(host: HostMeta, gpu: GpuMeta) -> EntityId:
    """The entity of a GPU: by UUID, else by its place."""
    return entity_id(CLUSTER, EntityKind.GPU, gpu.uuid or gpu_alias(host.name, str(gpu.index)))


class RecordedFleet:
    """The fleet of a recording: who is who under every name, and the changes that state it."""

    def __init__(self, meta: Meta) -> None:
        """Raises BadInput when an engine or link names a GPU that no host has."""
        self.aliases: dict[str, EntityId] = {}
        self.host_of: dict[EntityId, str] = {}
        self.gpus_of: dict[str, tuple[EntityId, ...]] = {}
        self._meta = meta
        self._states: list[tuple[EntityId, dict[str, str]]] = [(POOL, {})]
        self._relations: list[tuple[EntityId, RelationKind, EntityId]] = []
        for host in meta.hosts:
            self._add_host(host)
        for engine in meta.engines:
            self._add_engine(engine.name, engine.host, engine.kind, engine.model, engine.gpus)
        for link in meta.links:
            ends = [self._gpu(end) for end in link.ends]
            self._relations += [
                (a, RelationKind.LINKED_TO, b) for a in ends for b in ends if a != b
            ]

    @property
    def entities(self) -> frozenset[EntityId]:
        """Everything that is stated."""
        return frozenset(entity for entity, _ in self._states)

    def changes(self, at_s: float) -> tuple[TopologyChange, ...]:
        """Entities first, then aliases, then relations."""
        return (
            *(
                TopologyChange(at_s, TopologyOp.ENTITY, entity, attributes=attributes)
                for entity, attributes in self._states
            ),
            *(
                TopologyChange(at_s, TopologyOp.ALIAS, entity, alias)
                for alias, entity in self.aliases.items()
            ),
            *(
                TopologyChange(at_s, TopologyOp.RELATION, entity, target, relation)
                for entity, relation, target in self._relations
            ),
        )

    @property
    def first_host(self) -> str:
        """The host of rows that name none."""
        return self._meta.hosts[0].name if self._meta.hosts else "node-0"

    def engines_of(self, host: str) -> tuple[EntityId, ...]:
        """The engines that run on a host."""
        engines = (engine_id(engine.name) for engine in self._meta.engines)
        return tuple(engine for engine in engines if self.host_of.get(engine) == host)

    def unforeseen_node(self, node: str, at_s: float) -> tuple[TopologyChange, ...]:
        """What to state of a host that only the metrics name."""
        entity = node_id(node)
        return (
            TopologyChange(at_s, TopologyOp.ENTITY, entity, attributes={"pool": "recording"}),
            TopologyChange(at_s, TopologyOp.ALIAS, entity, node),
            TopologyChange(at_s, TopologyOp.RELATION, entity, POOL, RelationKind.MEMBER_OF),
        )

    def unforeseen(self, change: TopologyChange, node: str) -> tuple[TopologyChange, ...]:
        """A change that the metrics' labels state, with what else follows for a new engine."""
        new = change.op is TopologyOp.ENTITY and kind_of(change.entity) is EntityKind.ENGINE
        if not new:
            return (change,)
        engine, at_s = change.entity, change.at_s
        on, of = RelationKind.RUNS_ON, RelationKind.MEMBER_OF
        return (
            change,
            TopologyChange(at_s, TopologyOp.ALIAS, engine, key_of(engine)),
            TopologyChange(at_s, TopologyOp.RELATION, engine, node_id(node), on),
            TopologyChange(at_s, TopologyOp.RELATION, engine, POOL, of),
        )

    def _add_host(self, host: HostMeta) -> None:
        node = node_id(host.name)
        self._states.append((node, {"pool": "recording"}))
        self._relations.append((node, RelationKind.MEMBER_OF, POOL))
        self.aliases[host.name] = node
        self.host_of[node] = host.name
        alone = len(self._meta.hosts) == 1
        for gpu in host.gpus:
            entity = gpu_id(host, gpu)
            attributes = {"index": str(gpu.index), "model": gpu.model}
            if gpu.power_limit_w is not None:
                attributes["power_limit_w"] = f"{gpu.power_limit_w:g}"
            self._states.append((entity, attributes))
            self._relations.append((entity, RelationKind.PART_OF, node))
            self.host_of[entity] = host.name
            names = [gpu_alias(host.name, str(gpu.index)), gpu.uuid]
            if alone:
                names.append(f"gpu:{gpu.index}")
            if address := pci_address(gpu.pci):
                names.append(pci_alias(host.name, address))
            self.aliases |= {name: entity for name in names if name}
        self.gpus_of[host.name] = tuple(gpu_id(host, gpu) for gpu in host.gpus)

    def _add_engine(
        self, name: str, host: str, kind: str, model: str, gpus: tuple[str, ...]
    ) -> None:
        engine = engine_id(name)
        self._states.append((engine, {"kind": kind, "pool": "recording"}))
        self._relations.append((engine, RelationKind.MEMBER_OF, POOL))
        self.aliases[name] = engine
        places = [self._gpu(gpu) for gpu in gpus]
        if not host and places:
            host = self.host_of[places[0]]
        if not host and len(self._meta.hosts) == 1:
            host = self._meta.hosts[0].name
        if not places and host:  # an engine on the CPU still stands or falls with its node
            places = [node_id(host)]
        self._relations += [(engine, RelationKind.RUNS_ON, place) for place in places]
        if model:
            served = entity_id(CLUSTER, EntityKind.MODEL, model)
            self._states.append((served, {}))
            self._relations.append((engine, RelationKind.SERVES, served))
        self.host_of[engine] = host

    def _gpu(self, name: str) -> EntityId:
        found = self.aliases.get(name)
        if found is None:
            raise BadInput(f"{name!r} is no GPU of any host", where="meta.json")
        return found
