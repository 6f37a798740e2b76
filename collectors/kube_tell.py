"""What the cluster's collector has to tell: topology changes, and events made from facts.

Used by `kube_fleet`, `kube_changes` and `kube_watch`. Ids come from what makes the event, so that
the same observation gives the same event whenever it is made.
"""

from dataclasses import dataclass, field

from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.events import Event, EventType, Witness, event_id

SOURCE = "collector/kubernetes"
WHAT_MAX = 500
"""Most characters of a change's description."""

Data = dict[str, str | int | float | bool]


@dataclass(slots=True)
class News:
    """What is to be told."""

    changes: list[TopologyChange] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Changed:
    """Somebody changed something on purpose."""

    change: str
    """`rollout`, `config`, `scale`, `cordon` ...: the words that root cause analysis knows."""
    before: str
    now: str
    who: str = ""
    """The field manager that wrote it, as far as the API tells."""
    what: str = ""
    """Where `before -> now` does not say it all."""
    object: str = ""
    """The object that was changed, `Deployment llm/llama`, where it is not the subject itself."""
    cause: str = ""
    """What the author said: `kubernetes.io/change-cause`."""

    def data(self) -> Data:
        """As an event's data."""
        told: Data = {
            "change": self.change,
            "what": (self.what or f"{self.before or 'none'} -> {self.now or 'none'}")[:WHAT_MAX],
            "who": self.who,
            "witness": Witness.CLUSTER_API.value,
        }
        if not self.what:
            told |= {"from": self.before[:WHAT_MAX], "to": self.now[:WHAT_MAX]}
        extra = {"object": self.object, "cause": self.cause}
        return told | {key: value for key, value in extra.items() if value}


@dataclass(frozen=True, slots=True)
class Subject:
    """Whom events are about."""

    entity: EntityId
    node: str = ""
    """Partition key."""


def made(
    kind: EventType, subject: Subject, at_s: float, data: Data, cluster: str, *parts: str
) -> Event:
    """An event of this collector; `parts` make it what it is."""
    return Event(
        id=event_id(SOURCE, cluster, kind, *parts),
        source=SOURCE,
        type=kind,
        time_s=at_s,
        subject=subject.entity,
        node=subject.node,
        data=data,
    )
