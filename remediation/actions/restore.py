"""Restore: traffic back to an engine that this session ejected."""

from fleetmend.model.plans import ActionKind, Effect
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.actions.eject import WEIGHT_BEFORE
from remediation.world import World

WEIGHT_BEFORE_UNKNOWN = 100


class Restore:
    """Gives back the weight that the ejection remembered."""

    kind = ActionKind.RESTORE
    effect = Effect.REVERSIBLE
    compensation = None

    def look(self, world: World, task: Task) -> Look:
        """Only an engine that this session set to 0 is given back."""
        backend = world.traffic.backend(task.name)
        if backend is None or backend.weight > 0:
            return Look(Seen.DONE)
        ours = backend.operation.startswith(f"{task.session}/")
        return Look(Seen.READY if ours else Seen.DONE)

    def act(self, world: World, task: Task) -> Acted:
        """The weight before."""
        figure = task.memory.removeprefix(WEIGHT_BEFORE)
        before = int(figure) if figure.isdecimal() else WEIGHT_BEFORE_UNKNOWN
        world.traffic.set_weight(task.name, min(100, before), operation=task.operation)
        return Acted(Progress.DONE)

    def holds(self, world: World, task: Task) -> bool:
        """Nothing of ours keeps requests away."""
        return self.look(world, task).seen is Seen.DONE
