"""Cordon: no new work on a node. Unschedulable, tainted and annotated in one write."""

from fleetmend.errors import ActionRefused
from fleetmend.model.plans import ActionKind, Effect
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.world import World


class Cordon:
    """Reversible: what runs goes on running."""

    kind = ActionKind.CORDON
    effect = Effect.REVERSIBLE
    compensation = ActionKind.UNCORDON

    def look(self, world: World, task: Task) -> Look:
        """Whether the node carries this session already."""
        node = world.cluster.node(task.name)
        if node is None:
            return Look(Seen.MISSING)
        if node.session != task.session:
            return Look(Seen.READY)
        # Our mark on a node that takes work again: a person has uncordoned it.
        return Look(Seen.DONE if node.unschedulable else Seen.LOST)

    def act(self, world: World, task: Task) -> Acted:
        """One write, only if nobody changed the node since it was read."""
        node = world.cluster.node(task.name)
        if node is None:
            raise ActionRefused(guard="cordon", reason=f"node {task.name} is gone")
        if node.owner not in ("", task.session):
            raise ActionRefused(guard="cordon", reason=f"{node.owner} took the node meanwhile")
        if node.session != task.session:
            world.cluster.quarantine(node, session=task.session, reason=task.incident)
        return Acted(Progress.DONE)

    def holds(self, world: World, task: Task) -> bool:
        """The node is unschedulable and ours."""
        return self.look(world, task).seen is Seen.DONE
