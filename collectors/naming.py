"""Who a series speaks of: from its labels to an entity id. The normaliser asks; nothing else does.

Labels are found by name, never by place: exporters disagree about names (`Hostname`, `hostname`,
`UUID`, `uuid`, `gpu_uuid`) and about order. Labels are hostile input: a source may name so many
things of a kind and no more, or a page of ever new labels would fill topology and detectors.
"""

import re
from collections.abc import Callable, Mapping

from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.signals.records import Partition

_NODE_LABELS = ("Hostname", "hostname", "node", "instance", "host.name", "host_name")
_GPU_LABELS = ("UUID", "uuid", "gpu_uuid", "hw.id", "hw_id")
_INDEX_LABELS = ("gpu",)
_MODEL_LABELS = ("model_name", "model", "gen_ai.request.model", "gen_ai_request_model")
_PCI = re.compile(r"(?:([0-9a-fA-F]{4,8}):)?([0-9a-fA-F]{2}):([0-9a-fA-F]{2})(?:\.[0-7])?")
Resolve = Callable[[str], EntityId | None]
"""From an alias (`pod:llm/llama-0`, `node-3/pci:0000:3b:00`) to the entity that bears it now, such
as `TopologyView.resolve`."""

_KEY_MAX = 253
"""Longest name that may come from a label: the limit of a Kubernetes name."""


_ASKED_MAX = 4096
"""Answers of one source's resolver that are remembered."""


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


def instance_label(labels: Mapping[str, str]) -> str:
    """The MIG instance as `<UUID>/<number>`, or empty."""
    uuid, number = gpu_label(labels), labels.get("GPU_I_ID", "")
    return f"{uuid}/{number[:8]}" if uuid and number else ""


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
        names_max: int = 512,
    ) -> None:
        """`node`, `engine`: what every series of the source belongs to. `resolve`: finds the engine
        behind a pod alias. `pods_are_engines`: a pod label names an engine (recordings).
        `names_max`: most names of one kind; nothing that goes beyond has an entity."""
        self.cluster = cluster
        self.node = node
        self._engine = engine
        self._resolve = resolve
        self._asked: dict[str, EntityId | None] = {}
        """What `resolve` answered."""
        self._pods_are_engines = pods_are_engines
        self._names_max = names_max
        self._named: dict[str, set[str]] = {}
        self._refused: dict[str, set[str]] = {}

    def take_refused(self) -> dict[str, int]:
        """How many names of each kind were too many since this was last asked."""
        refused, self._refused = self._refused, {}
        return {kind: len(names) for kind, names in sorted(refused.items())}

    def answers_changed(self) -> bool:
        """Whether an alias that was asked for means something else now."""
        if self._resolve is None:
            return False
        return any(self._resolve(alias) != meant for alias, meant in self._asked.items())

    def forget_answers(self) -> None:
        """What was asked so far no longer matters."""
        self._asked.clear()

    def forget_pods(self) -> None:
        """Make room for other pods: they come and go, everything else stays with its source."""
        self._named.pop(EntityKind.POD, None)

    def entity(
        self, kind: EntityKind, labels: Mapping[str, str], partition: Partition | None
    ) -> EntityId | None:
        """The entity that a signal of `kind` speaks of; None when the series does not say."""
        match kind:
            case EntityKind.GPU:
                if partition is Partition.INSTANCE and instance_label(labels):
                    return self.instance(labels)
                return self.gpu(labels)
            case EntityKind.ENGINE:
                return self._engine or self.engine_of_pod(labels)
            case EntityKind.NODE:
                return self.node_entity(labels)
            case EntityKind.SWITCH:
                name = first_label(labels, ("nvswitch",))
                node = self._node(labels)
                return self._id(EntityKind.SWITCH, f"{node}/{name}") if name and node else None
            case EntityKind.MODEL:
                return self.model(labels)
            case EntityKind.TENANT:
                tenant = first_label(labels, ("tenant",))
                return self._id(EntityKind.TENANT, tenant) if tenant else None
            case _:
                return None

    def gpu(self, labels: Mapping[str, str]) -> EntityId | None:
        """The GPU of a series: by UUID, else by node and index."""
        uuid = gpu_label(labels)
        if uuid:
            return self._id(EntityKind.GPU, uuid)
        node, index = self._node(labels), first_label(labels, _INDEX_LABELS)
        return self._id(EntityKind.GPU, gpu_alias(node, index)) if node and index else None

    def gpu_aliases(self, labels: Mapping[str, str], node: str) -> list[str]:
        """The other names that a series gives its GPU on a node: by index and by PCI address."""
        index = first_label(labels, _INDEX_LABELS)
        address = pci_address(first_label(labels, ("pci_bus_id",)))
        aliases = []
        if index and self._admits("index", alias := gpu_alias(node, index)):
            aliases.append(alias)
        if address and self._admits("pci", alias := pci_alias(node, address)):
            aliases.append(alias)
        return aliases

    def instance(self, labels: Mapping[str, str]) -> EntityId | None:
        """The MIG instance of a series."""
        key = instance_label(labels)
        return self._id(EntityKind.MIG, key) if key else None

    def engine_of_pod(self, labels: Mapping[str, str]) -> EntityId | None:
        """The engine that the pod label names."""
        pod = labels.get("pod", "")[:_KEY_MAX]
        if not pod:
            return None
        if self._pods_are_engines:
            return self._id(EntityKind.ENGINE, pod)
        if self._resolve is None:
            return None
        alias = pod_alias(labels.get("namespace", "")[:_KEY_MAX], pod)
        if alias in self._asked:
            return self._asked[alias]
        meant = self._resolve(alias)
        if len(self._asked) < _ASKED_MAX:
            self._asked[alias] = meant
        return meant

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

    def _id(self, kind: EntityKind, key: str) -> EntityId | None:
        return entity_id(self.cluster, kind, key) if self._admits(kind, key) else None

    def _admits(self, kind: str, name: str) -> bool:
        """Whether a name is known, or one of the first of its kind."""
        named = self._named.setdefault(kind, set())
        if name not in named and len(named) >= self._names_max:
            self._refused.setdefault(kind, set()).add(name)
            return False
        named.add(name)
        return True
