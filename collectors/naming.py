"""Who a series speaks of: from its labels to an entity id. The normaliser asks; nothing else does.

Labels are found by name, never by place: exporters disagree about names (`Hostname`, `hostname`,
`UUID`, `uuid`, `gpu_uuid`) and about order.
"""

import re
from collections.abc import Callable, Mapping

from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.signals.records import Partition

_NODE_LABELS = ("Hostname", "hostname", "node", "instance", "host.name", "host_name")
_GPU_LABELS = ("UUID", "uuid", "gpu_uuid", "hw.id", "hw_id")
_MODEL_LABELS = ("model_name", "model", "gen_ai.request.model", "gen_ai_request_model")
_PCI = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.[0-7])?")
Resolve = Callable[[str], EntityId | None]
"""From an alias (`pod:llm/llama-0`, `node-3/pci:0000:3b:00`) to the entity that bears it now, such
as `TopologyView.resolve`."""

_KEY_MAX = 253
"""Longest name that may come from a label: the limit of a Kubernetes name."""


def first_label(labels: Mapping[str, str], names: tuple[str, ...]) -> str:
    """The value of the first of these labels that is there and not empty, cut to a sane length."""
    for name in names:
        value = labels.get(name, "")
        if value:
            return value[:_KEY_MAX]
    return ""


def node_label(labels: Mapping[str, str]) -> str:
    """The node that a series names, without a port; empty when it names none."""
    return first_label(labels, _NODE_LABELS).partition(":")[0]


def gpu_label(labels: Mapping[str, str]) -> str:
    """The GPU's UUID, or empty."""
    return first_label(labels, _GPU_LABELS)


def model_label(labels: Mapping[str, str]) -> str:
    """The served model, or empty."""
    return first_label(labels, _MODEL_LABELS)


def pci_address(text: str) -> str:
    """`0000:3b:00` of `00000000:3B:00.0`, `0000:3b:00` or `3b:00.0`; empty for anything else.

    The kernel log leaves the function out, the tracepoint gives it, DCGM writes a long domain.
    """
    match = _PCI.fullmatch(text.strip())
    if match is None:
        return ""
    domain, bus, device = match.groups()
    return f"{(domain or '0')[-4:].zfill(4)}:{bus}:{device}".lower()


def gpu_alias(node: str, index: str) -> str:
    """The name of a node's GPU by index."""
    return f"{node}/gpu:{index}"


def pci_alias(node: str, address: str) -> str:
    """The name of a node's GPU by PCI address, as `pci_address` writes it."""
    return f"{node}/pci:{address}"


def pod_alias(namespace: str, pod: str) -> str:
    """The name of a pod, which an engine may bear as an alias."""
    return f"pod:{namespace}/{pod}"


class Names:
    """The naming of one source of series: its cluster, and what the source's address tells."""

    def __init__(
        self,
        *,
        cluster: str,
        node: str = "",
        engine: EntityId | None = None,
        resolve: Resolve | None = None,
        pods_are_engines: bool = False,
    ) -> None:
        """`node`, `engine`: what every series of the source belongs to. `resolve`: finds the engine
        behind a pod alias. `pods_are_engines`: a pod label names an engine (recordings)."""
        self.cluster = cluster
        self.node = node
        self._engine = engine
        self._resolve = resolve
        self._pods_are_engines = pods_are_engines

    def entity(
        self, kind: EntityKind, labels: Mapping[str, str], partition: Partition | None
    ) -> EntityId | None:
        """The entity that a signal of `kind` speaks of; None when the series does not say."""
        match kind:
            case EntityKind.GPU:
                return self.instance(labels, partition) or self.gpu(labels)
            case EntityKind.ENGINE:
                return self._engine or self.engine_of_pod(labels)
            case EntityKind.NODE:
                return self.node_entity(labels)
            case EntityKind.SWITCH:
                name = labels.get("nvswitch", "")
                node = self._node(labels)
                return self._id(EntityKind.SWITCH, f"{node}/{name}") if name and node else None
            case _:
                return None

    def gpu(self, labels: Mapping[str, str]) -> EntityId | None:
        """The GPU of a series: by UUID, else by node and index."""
        uuid = gpu_label(labels)
        if uuid:
            return self._id(EntityKind.GPU, uuid)
        node, index = self._node(labels), labels.get("gpu", "")
        return self._id(EntityKind.GPU, gpu_alias(node, index)) if node and index else None

    def instance(
        self, labels: Mapping[str, str], partition: Partition | None = Partition.INSTANCE
    ) -> EntityId | None:
        """The MIG instance of a series when there is one and the signal speaks of it."""
        number, uuid = labels.get("GPU_I_ID", ""), gpu_label(labels)
        if not number or not uuid or partition is not Partition.INSTANCE:
            return None
        return self._id(EntityKind.MIG, f"{uuid}/{number[:8]}")

    def engine_of_pod(self, labels: Mapping[str, str]) -> EntityId | None:
        """The engine that the pod label names."""
        pod = labels.get("pod", "")[:_KEY_MAX]
        if not pod:
            return None
        if self._pods_are_engines:
            return self._id(EntityKind.ENGINE, pod)
        alias = pod_alias(labels.get("namespace", ""), pod)
        return self._resolve(alias) if self._resolve is not None else None

    def tenant_pod(self, labels: Mapping[str, str]) -> EntityId | None:
        """Who the pod label says uses the GPU: an engine when the pod is known as one, else the
        pod."""
        pod = labels.get("pod", "")[:_KEY_MAX]
        if not pod:
            return None
        namespace = labels.get("namespace", "")[:_KEY_MAX]
        return self.engine_of_pod(labels) or self._id(EntityKind.POD, f"{namespace}/{pod}")

    def node_entity(self, labels: Mapping[str, str]) -> EntityId | None:
        """The node of a series: what the source's address says, else what the labels say."""
        node = self._node(labels)
        return self._id(EntityKind.NODE, node) if node else None

    def model(self, labels: Mapping[str, str]) -> EntityId | None:
        """The served model that a series names."""
        model = model_label(labels)
        return self._id(EntityKind.MODEL, model) if model else None

    def _node(self, labels: Mapping[str, str]) -> str:
        # An old exporter's Hostname is the name of its own pod, so the address goes first.
        return self.node or node_label(labels)

    def _id(self, kind: EntityKind, key: str) -> EntityId:
        return entity_id(self.cluster, kind, key)
