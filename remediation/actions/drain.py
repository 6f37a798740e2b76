"""Drain: move the work off a node, a few pods at a time, by the eviction API.

Disruption budgets are the owners' word: a blocked eviction is asked again on a later turn, never
forced. What is left to do is always read from the node, so a drain resumes by itself after a crash
and a pod that is on its way out already is never asked twice. Before each eviction the node is read
again: a person who took it back meanwhile keeps their pods.
"""

from fleetmend.errors import ActionRefused, PortRefused
from fleetmend.model.plans import ActionKind, Effect
from fleetmend.ports.cluster import EvictionOutcome, PodState
from remediation.actions.base import Acted, Look, Progress, Seen, Task
from remediation.world import World


class Drain:
    """Disruptive, and not undone: evicted pods run elsewhere by then."""

    kind = ActionKind.DRAIN
    effect = Effect.DISRUPTIVE
    compensation = None

    def __init__(self, *, parallel: int) -> None:
        """At most `parallel` pods are on their way out at once."""
        self._parallel = parallel

    def look(self, world: World, task: Task) -> Look:
        """Only a node that this session holds is drained."""
        held = _held(world, task)
        if held is None:
            return Look(Seen.MISSING)
        if not held:
            return Look(Seen.LOST)
        pods = _movable(world, task)
        left = sum(not pod.terminating for pod in pods)
        return Look(Seen.READY if pods else Seen.DONE, left=left)

    def act(self, world: World, task: Task) -> Acted:
        """Ask for as many evictions as may be under way. Raises PortRefused when nothing is left
        but pods that the cluster does not let us move."""
        pods = _movable(world, task)
        leaving = sum(pod.terminating for pod in pods)
        blocked = 0
        refused: list[PortRefused] = []
        for pod in pods:
            if pod.terminating:
                continue
            if leaving >= self._parallel:
                break
            if not _held(world, task):
                raise ActionRefused(guard="drain", reason=f"node {task.name} was taken back")
            try:
                outcome = world.cluster.evict(pod, session=task.session)
            except PortRefused as error:
                refused.append(error)
                continue
            leaving += outcome is EvictionOutcome.ACCEPTED
            blocked += outcome is EvictionOutcome.BLOCKED
        if not pods:
            return Acted(Progress.DONE)
        if len(refused) == len(pods):
            raise refused[0]
        return Acted(Progress.AGAIN, f"{len(pods)} pods left, {blocked} blocked by a budget")

    def holds(self, world: World, task: Task) -> bool:
        """Nothing that could be moved is left."""
        return not _movable(world, task)


def _held(world: World, task: Task) -> bool | None:
    """Whether this session still holds the node; None when there is no such node."""
    node = world.cluster.node(task.name)
    return None if node is None else node.session == task.session and node.unschedulable


def _movable(world: World, task: Task) -> list[PodState]:
    """Pods that a drain moves, in a stable order; daemons stay with their node."""
    pods = (pod for pod in world.cluster.pods_on(task.name) if not pod.daemon)
    return sorted(pods, key=lambda pod: (pod.namespace, pod.name, pod.uid))
