"""Notify: leave word on the incident of what a person should do."""

from fleetmend.model.plans import ActionKind, Effect
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.world import World


class Notify:
    """Changes nothing in the fleet."""

    kind = ActionKind.NOTIFY
    effect = Effect.OBSERVE
    compensation = None

    def look(self, world: World, task: Task) -> Look:
        """Whether it was said already."""
        return Look(Seen.DONE if world.notices.told(task.operation) else Seen.READY)

    def act(self, world: World, task: Task) -> Acted:
        """Say it."""
        text = task.step.parameters.get("text", f"{task.cause} on {task.step.target}")
        world.notices.tell(task.operation, incident=task.incident, text=text)
        return Acted(Progress.DONE)

    def holds(self, world: World, task: Task) -> bool:
        """It was said."""
        return world.notices.told(task.operation)
