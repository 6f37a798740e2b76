"""The fleet as remediation sees it: topology, open findings, demand, and how old all that is.

Fed record by record by `remediation.intake`, read by `remediation.gather`. Kept in memory only:
after a restart it is built again from the log, and until then nothing takes capacity away.
"""

from collections.abc import Mapping

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, TopologyChange, kind_of
from fleetmend.model.findings import Finding, FindingState
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Mark
from fleetmend.settings.remediation import RemediationSettings
from fleetmend.views.coverage import DOMAINS, covered
from fleetmend.views.headroom import HeadroomView
from fleetmend.views.topology import TopologyView
from remediation.place import engines_of, node_of

DOWN_SYMPTOMS = frozenset({"no_progress", "probe_failed"})
"""Symptoms of an engine that serves nothing: taking it away costs nothing."""

NOT_READY = "node_condition.Ready"
OFFSETS_LOST = "offsets_lost"
ENTITIES_CACHED = 200_000


class Picture:
    """Holds state, never decides. Not shared between threads."""

    def __init__(self, settings: RemediationSettings) -> None:
        self.topology = TopologyView()
        self.headroom = HeadroomView(
            self.topology,
            slots=settings.slots_per_replica,
            window_s=settings.demand_window_s,
            margin=settings.demand_margin,
        )
        self.nodes: set[EntityId] = set()
        """Every node of the fleet."""
        self.marked_s: float | None = None
        """Event time up to which the diagnosis is complete; None before the first mark."""
        self.behind = "the log has not been read to its end yet"
        """Why the picture is not complete; empty once it is. Set by the intake."""
        self._findings: dict[str, Finding] = {}
        self._by_symptom: dict[str, dict[str, EntityId]] = {}
        self._unfit: set[EntityId] = set()
        self._units: dict[tuple[EntityId, EntityKind], tuple[EntityId, ...]] = {}

    def change(self, change: TopologyChange) -> None:
        """Take in a change of the topology."""
        if not self.topology.apply(change):
            return
        self._units.clear()
        if kind_of(change.entity) is not EntityKind.NODE:
            return
        attributes = self.topology.attributes.get(change.entity)
        (self.nodes.discard if attributes is None else self.nodes.add)(change.entity)
        unfit = attributes is not None and (
            attributes.get("ready") == "false" or attributes.get("unschedulable") == "true"
        )
        (self._unfit.add if unfit else self._unfit.discard)(change.entity)

    def find(self, finding: Finding) -> None:
        """Take in the newest state of a finding."""
        old = self._findings.pop(finding.id, None)
        for symptom in old.symptoms if old is not None else ():
            self._by_symptom[symptom.name].pop(finding.id, None)
        if finding.state is FindingState.CLOSED:
            return
        self._findings[finding.id] = finding
        for symptom in finding.symptoms:
            self._by_symptom.setdefault(symptom.name, {})[finding.id] = finding.entity

    def observe(self, batch: SampleBatch) -> None:
        """Take in demand."""
        self.headroom.observe(batch)

    def mark(self, mark: Mark) -> None:
        """The diagnosis is complete up to this event time."""
        self.marked_s = max(mark.at_s, self.marked_s or mark.at_s)

    def showing(self, symptom: str) -> Mapping[str, EntityId]:
        """Open findings with a symptom: finding id -> entity."""
        return self._by_symptom.get(symptom, {})

    def finding(self, finding_id: str) -> Finding:
        """An open finding. Raises KeyError for any other."""
        return self._findings[finding_id]

    def units_of(self, entity: EntityId, kind: EntityKind) -> tuple[EntityId, ...]:
        """The nodes, or the engines, that something about `entity` concerns: of a collector, a pool
        or a cluster all that are in it."""
        key = entity, kind
        if key not in self._units:
            if len(self._units) >= ENTITIES_CACHED:
                self._units.clear()
            node = node_of(self.topology, entity)
            if kind_of(entity) in DOMAINS:
                self._units[key] = self._inside(entity, kind)
            elif kind is EntityKind.ENGINE:
                self._units[key] = engines_of(self.topology, entity)
            else:
                self._units[key] = () if node is None else (node,)
        return self._units[key]

    def _inside(self, domain: EntityId, kind: EntityKind) -> tuple[EntityId, ...]:
        """The nodes, or the engines, of a domain."""
        inside = covered(domain, self.topology)
        nodes = {node_of(self.topology, e) for e in inside} if kind is EntityKind.NODE else set()
        found = {e for e in inside if kind_of(e) is kind} | nodes
        return tuple(sorted(unit for unit in found if unit is not None))

    def out_nodes(self) -> frozenset[EntityId]:
        """Nodes that the cluster itself counts out: not ready, or unschedulable."""
        reported = {
            node
            for entity in self.showing(NOT_READY).values()
            for node in self.units_of(entity, EntityKind.NODE)
        }
        return frozenset(self._unfit | reported)

    def down_engines(self) -> frozenset[EntityId]:
        """Engines that serve nothing, as far as findings and topology say."""
        found = {
            entity
            for symptom in DOWN_SYMPTOMS
            for entity in self.showing(symptom).values()
            if kind_of(entity) is EntityKind.ENGINE
        }
        return frozenset(found)

    def old(self, now_s: float, *, behind_max_s: float) -> str:
        """Why the picture may be old; empty when it is current."""
        if self.behind:
            return self.behind
        if self.showing(OFFSETS_LOST):
            return "a stage lost its place in the log and is catching up"
        if self.marked_s is None:
            return "no diagnosis has been completed yet"
        behind_s = now_s - self.marked_s
        if behind_s > behind_max_s:
            return f"the last completed diagnosis is {behind_s:.0f} s old"
        return ""

    def hosts_platform(self, node: EntityId) -> str:
        """What part of the platform a node carries, as its topology says."""
        return self.topology.attributes.get(node, {}).get("hosts_platform", "")

    def maintenance(self, node: EntityId) -> str:
        """Why somebody works on a node, as its topology says."""
        return self.topology.attributes.get(node, {}).get("maintenance", "")

    def members(self, group: EntityId, relation: RelationKind, kind: EntityKind) -> set[EntityId]:
        """Entities of a kind that point to `group`."""
        return {e for e in self.topology.sources(group, relation) if kind_of(e) is kind}
