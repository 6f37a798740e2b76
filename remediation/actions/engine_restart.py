"""Restart an engine, once for each session: milder than its pod, far milder than its node."""

from fleetmend.model.plans import ActionKind, Effect
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.world import World


class EngineRestart:
    """Disruptive: requests in flight are lost. There is no way back, only forward."""

    kind = ActionKind.ENGINE_RESTART
    effect = Effect.DISRUPTIVE
    compensation = None

    def look(self, world: World, task: Task) -> Look:
        """The engine itself names the operation that last restarted it."""
        engine = world.engines.state(task.name)
        if engine is None:
            return Look(Seen.MISSING)
        return Look(Seen.DONE if engine.operation == task.operation else Seen.READY)

    def act(self, world: World, task: Task) -> Acted:
        """Restart; a second call of the same operation changes nothing."""
        world.engines.restart(task.name, operation=task.operation)
        return Acted(Progress.DONE)

    def holds(self, world: World, task: Task) -> bool:
        """It serves again."""
        engine = world.engines.state(task.name)
        return engine is not None and engine.serving
