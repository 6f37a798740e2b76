"""The finding that says: offsets were lost, the state is being rebuilt.

Called by `fleetmend.streams.fold_run`. It travels like any other finding, so that every room (and
another process) knows, whichever fold it was.
"""

from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom, finding_id
from fleetmend.streams.port import Outgoing
from fleetmend.streams.topics import Topic

PLATFORM = "fleetmend"
"""The cluster part of the ids of our own parts."""


def offsets_lost(
    fold: str, state: FindingState, *, lost_tick: int, tick: int, lost_s: float, at_s: float
) -> Outgoing:
    """The finding about `fold`, lost at tick `lost_tick` (the id follows from it) at event time
    `lost_s`, as of `tick` and event time `at_s`."""
    entity = entity_id(PLATFORM, EntityKind.COLLECTOR, fold)
    finding = Finding(
        id=finding_id(entity, "coverage", "offsets_lost", lost_tick),
        detector="coverage",
        entity=entity,
        state=state,
        witness=Witness.SILENCE,
        tick=tick,
        at_s=at_s,
        onset_s=lost_s,
        confidence=1.0,
        symptoms=(Symptom("offsets_lost", Direction.PRESENT, 1.0, lost_s),),
        reason="offsets_lost",
        detail=f"{fold} rebuilds its state from the oldest records of the log",
    )
    return Outgoing(Topic.FINDINGS, PLATFORM, finding)
