"""Uncordon: give a node back. Ours alone: what others have cordoned stays as it is."""

from fleetmend.model.plans import ActionKind, Effect
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.world import World


class Uncordon:
    """Gives back; the adapter leaves a node unschedulable that was so before us."""

    kind = ActionKind.UNCORDON
    effect = Effect.REVERSIBLE
    compensation = None

    def look(self, world: World, task: Task) -> Look:
        """A node that does not carry this session, or is gone, needs no giving back."""
        node = world.cluster.node(task.name)
        ours = node is not None and node.session == task.session
        return Look(Seen.READY if ours else Seen.DONE)

    def act(self, world: World, task: Task) -> Acted:
        """One write, only if nobody changed the node since it was read."""
        node = world.cluster.node(task.name)
        if node is not None and node.session == task.session:
            world.cluster.release(node, session=task.session)
        return Acted(Progress.DONE)

    def holds(self, world: World, task: Task) -> bool:
        """The node does not carry this session."""
        return self.look(world, task).seen is Seen.DONE
