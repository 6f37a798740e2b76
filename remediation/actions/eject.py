"""Eject: no new requests for an engine; those in flight end where they are."""

from fleetmend.model.plans import ActionKind, Effect
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.world import World

WEIGHT_BEFORE = "weight before: "
"""What the step's record remembers, followed by a number."""


class Eject:
    """Reversible; milder than anything done to the engine itself."""

    kind = ActionKind.EJECT
    effect = Effect.REVERSIBLE
    compensation = ActionKind.RESTORE

    def look(self, world: World, task: Task) -> Look:
        """The weight before is remembered, so that giving back gives as much as there was."""
        backend = world.traffic.backend(task.name)
        if backend is None:
            return Look(Seen.MISSING)
        if backend.operation == task.operation and backend.weight > 0:
            return Look(Seen.LOST)
        memory = f"{WEIGHT_BEFORE}{backend.weight}"
        return Look(Seen.READY if backend.weight > 0 else Seen.DONE, memory=memory)

    def act(self, world: World, task: Task) -> Acted:
        """Weight 0."""
        world.traffic.set_weight(task.name, 0, operation=task.operation)
        return Acted(Progress.DONE)

    def holds(self, world: World, task: Task) -> bool:
        """The engine gets no new requests."""
        backend = world.traffic.backend(task.name)
        return backend is not None and backend.weight == 0
