"""What the console is given in tests: the real decisions, a made-up fleet, a fault injector."""

from console.deps import FleetNow
from fleetmend.clock import Clock
from fleetmend.errors import PortRefused
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.ports.faults import FaultOffer, InjectedFault
from fleetmend.ports.halt import HaltState
from fleetmend.store import Store
from fleetmend.views.topology import TopologyView
from remediation.service import RemediationService
from tests.unit.console.builder import NOW_S, gpu, node


class FakeHalt:
    """A switch in memory."""

    def __init__(self) -> None:
        self._state = HaltState(False)

    def state(self) -> HaltState:
        """As last set."""
        return self._state

    def set(self, state: HaltState) -> None:
        """From now on."""
        self._state = state


def decisions(store: Store, clock: Clock) -> RemediationService:
    """The real service over a store, with a switch in memory; an approval holds 15 minutes."""
    return RemediationService(store, clock, halt=FakeHalt(), runbooks=(), approval_ttl_s=900)


class FakeFaults:
    """Offers two faults and remembers what was made."""

    def __init__(self) -> None:
        self.made: list[str] = []

    def offers(self) -> tuple[FaultOffer, ...]:
        """Two."""
        return (
            FaultOffer("gpu_off_bus", "GPU falls off the bus", "gpu"),
            FaultOffer("engine_hang", "Engine hangs with work in hand", "engine"),
        )

    def inject(self, name: str, target: EntityId | None = None) -> InjectedFault:
        """Only what is offered."""
        if name not in {offer.name for offer in self.offers()}:
            raise PortRefused(f"there is no fault {name[:60]!r}")
        self.made.append(name)
        return InjectedFault("x-1", name, target or gpu(1, 1), NOW_S)


class FakeFleet:
    """Three pools of H200 nodes in racks of eight nodes."""

    def __init__(
        self,
        pools: tuple[tuple[str, int], ...] = (
            ("chat-h200", 24),
            ("rag-h200", 16),
            ("batch-h200", 8),
        ),
    ) -> None:
        self._topology = TopologyView()
        self._busy: dict[EntityId, float] = {}
        number = 0
        for name, count in pools:
            pool = entity_id("prod-1", EntityKind.POOL, name)
            for _ in range(count):
                number += 1
                self._add(number, pool)

    def topology(self) -> TopologyView:
        """The same each time."""
        return self._topology

    def now(self) -> FleetNow:
        """The same fleet each time."""
        return FleetNow(NOW_S, self._topology, frozenset({node(37)}), self._busy)

    def _add(self, number: int, pool: EntityId) -> None:
        place = node(number)
        rack = entity_id("prod-1", EntityKind.RACK, f"r{11 + (number - 1) // 8}")
        self._entity(place)
        self._relation(place, RelationKind.MEMBER_OF, pool)
        self._relation(place, RelationKind.PART_OF, rack)
        for index in range(8):
            card = gpu(number, index)
            self._entity(card, {"index": str(index), "model": "H200"})
            self._relation(card, RelationKind.PART_OF, place)
            wave = ((number * 37 + index * 11) % 53) / 53
            self._busy[card] = 0.35 + 0.6 * wave

    def _entity(self, entity: EntityId, attributes: dict[str, str] | None = None) -> None:
        self._topology.apply(
            TopologyChange(NOW_S, TopologyOp.ENTITY, entity, attributes=attributes or {})
        )

    def _relation(self, source: EntityId, relation: RelationKind, target: EntityId) -> None:
        self._topology.apply(TopologyChange(NOW_S, TopologyOp.RELATION, source, target, relation))
