"""The operator's limits as plain data: read by the guards, made once from the settings."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from fleetmend.model.plans import Autonomy
from fleetmend.settings.remediation import LimitSettings, RemediationSettings, WindowSettings


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds on one failure domain."""

    taken_max: int
    window_s: float
    out_max: int
    out_fraction: float

    def level_max(self, size: int) -> int:
        """Units of a domain of `size` that may be out at once: both bounds hold."""
        return min(self.out_max, max(1, math.floor(self.out_fraction * size)))


@dataclass(frozen=True, slots=True)
class Window:
    """A stretch of time [start_s, end_s) in which pools or nodes are left alone."""

    start_s: float
    end_s: float
    reason: str
    pools: frozenset[str] = frozenset()
    nodes: frozenset[str] = frozenset()

    def covers(self, *, at_s: float, pool: str, node: str) -> bool:
        """Whether it holds now for this node of this pool."""
        everywhere = not self.pools and not self.nodes
        return self.start_s <= at_s < self.end_s and (
            everywhere or pool in self.pools or node in self.nodes
        )


@dataclass(frozen=True, slots=True)
class PoolPolicy:
    """What one pool allows."""

    autonomy: Autonomy
    destructive_auto: bool
    limits: Limits


@dataclass(frozen=True, slots=True)
class Policy:
    """All bounds. `of_pool` answers for pools that are not named, too."""

    default: PoolPolicy
    rack_limits: Limits
    fleet_limits: Limits
    pools: Mapping[str, PoolPolicy] = field(default_factory=dict)
    maintenance: tuple[Window, ...] = ()
    freezes: tuple[Window, ...] = ()
    platform_nodes: frozenset[str] = frozenset()
    unknown_demand_fraction: float = 0.5
    domain_silent_fraction: float = 0.3
    shared_fraction: float = 0.5
    shared_nodes_min: int = 3
    behind_max_s: float = 60.0
    score_min: float = 0.5

    def of_pool(self, pool: str) -> PoolPolicy:
        """The pool's own policy, or the default."""
        return self.pools.get(pool, self.default)

    @property
    def longest_window_s(self) -> float:
        """Seconds for which anything taken may count against some bound."""
        limits = [self.rack_limits, self.fleet_limits]
        limits += [pool.limits for pool in (self.default, *self.pools.values())]
        return max(each.window_s for each in limits)


def policy_from(settings: RemediationSettings) -> Policy:
    """The settings as a policy."""
    pools = {"": settings.default} | settings.pools
    policies = {
        name: PoolPolicy(pool.autonomy, pool.destructive_auto, _limits(pool.limits))
        for name, pool in pools.items()
    }
    return Policy(
        default=policies[""],
        rack_limits=_limits(settings.rack_limits),
        fleet_limits=_limits(settings.fleet_limits),
        pools=policies,
        maintenance=tuple(map(_window, settings.maintenance)),
        freezes=tuple(map(_window, settings.freezes)),
        platform_nodes=frozenset(settings.platform_nodes),
        unknown_demand_fraction=settings.unknown_demand_fraction,
        domain_silent_fraction=settings.domain_silent_fraction,
        shared_fraction=settings.shared_fraction,
        shared_nodes_min=settings.shared_nodes_min,
        behind_max_s=settings.behind_max_s,
        score_min=settings.score_min,
    )


def _limits(settings: LimitSettings) -> Limits:
    return Limits(settings.taken_max, settings.window_s, settings.out_max, settings.out_fraction)


def _window(settings: WindowSettings) -> Window:
    return Window(
        settings.start.timestamp(),
        settings.end.timestamp(),
        settings.reason,
        frozenset(settings.pools),
        frozenset(settings.nodes),
    )
