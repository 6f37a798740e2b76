"""What our own act brings about while it is under way, so that it is not held against it.

A drain ends engines, and their pages fall silent; their load goes to the other engines of their
pool. Both look like symptoms. Left out are, from the moment at which this session began to take
work off the unit: everything on the unit itself, and on units that serve the same pool what more
load can explain. What load cannot explain (an Xid, a link, a node that is not ready) counts
wherever it shows: a shared parent that fails meanwhile still stops the rest. What showed before the
step began was judged then and counts on. Used by `remediation.gather`; pure.
"""

from dataclasses import dataclass

from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.model.findings import Finding
from fleetmend.model.plans import Effect, Plan, Session
from fleetmend.views.coverage import DOMAINS
from remediation.picture import Picture
from remediation.place import engines_of

DATED_BACK_S = 15.0
"""Seconds by which the onset of an effect may lie before its cause: a silence is dated to the last
sample, and pages are read every 15 s at the slowest."""

BORNE_BY_LOAD = (
    "engine.",
    "throttle.",
    "gpu.utilization",
    "gpu.power",
    "gpu.energy",
    "gpu.temperature",
    "gpu.memory_temperature",
    "gpu.sm_",
    "gpu.memory_clock",
    "gpu.tensor_active",
    "gpu.dram_active",
    "gpu.work_per_token",
)
"""Beginnings of symptoms that more load alone can bring about."""


@dataclass(frozen=True, slots=True)
class OwnActs:
    """What one session has begun to take from one unit."""

    unit: EntityId
    begun_at_s: float
    pools: frozenset[EntityId]
    """Serving pools whose other engines carry the load now."""

    def brought_about(self, finding: Finding, symptom: str, picture: Picture) -> bool:
        """Whether this symptom can be an effect of what this session does."""
        if finding.onset_s < self.begun_at_s - DATED_BACK_S or kind_of(finding.entity) in DOMAINS:
            return False  # no act on one unit silences a collector or a pool
        if self.unit in picture.units_of(finding.entity, kind_of(self.unit)):
            return True
        if not symptom.startswith(BORNE_BY_LOAD):
            return False
        engines = picture.units_of(finding.entity, EntityKind.ENGINE)
        return any(picture.headroom.pool_of(engine) in self.pools for engine in engines)


def own_acts(session: Session, plan: Plan, unit: EntityId, picture: Picture) -> OwnActs | None:
    """What `session` has begun on `unit`; None as long as everything there still serves. A cordon
    takes no work away."""
    heavy = {
        step.index
        for step in plan.steps
        if step.target == unit and step.effect in (Effect.DISRUPTIVE, Effect.DESTRUCTIVE)
    }
    begun = [r.begun_at_s for r in session.steps if r.index in heavy and r.begun_at_s > 0]
    if not begun:
        return None
    pools = {picture.headroom.pool_of(engine) for engine in engines_of(picture.topology, unit)}
    return OwnActs(unit, min(begun), frozenset(pool for pool in pools if pool is not None))
