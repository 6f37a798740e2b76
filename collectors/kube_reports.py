"""The API's own events (`kubectl get events`): what components report in words about an object.

Node-problem-detector reports passing problems here, NVSentinel what is not fatal, the kubelet
reboots and evictions. Pure; used by `kube_sight` and `kube_changes`. Words are hostile: cut, never
interpreted.
"""

from dataclasses import dataclass
from datetime import datetime

from collectors.kube_json import Object, at, identity, text

_MESSAGE_MAX = 300


@dataclass(frozen=True, slots=True)
class Report:
    """One event of the API; the server counts repetitions in the same object."""

    uid: str
    count: int
    since: str
    """When it last happened, as the API writes it."""
    reason: str
    message: str
    type: str
    """`Warning`; NVSentinel writes the name of its check."""
    component: str
    kind: str
    namespace: str
    name: str
    about: str
    """Uid of the object that it is about."""

    @property
    def object(self) -> str:
        """`Pod llm/llama-0`, `Node n1`."""
        place = f"{self.namespace}/{self.name}" if self.namespace else self.name
        return f"{self.kind} {place}"


def describe_report(obj: Object) -> Report | None:
    """What is reported; None when it is about nothing."""
    about = at(obj, "involvedObject")
    kind, name = text(about, "kind"), text(about, "name")
    if not kind or not name:
        return None
    count = at(obj, "series", "count") or at(obj, "count") or 1
    return Report(
        uid=identity(obj),
        count=count if isinstance(count, int) else 1,
        since=_since(obj),
        reason=text(obj, "reason"),
        message=text(obj, "message", most=_MESSAGE_MAX),
        type=text(obj, "type"),
        component=text(obj, "source", "component") or text(obj, "reportingComponent"),
        kind=kind,
        namespace=text(about, "namespace") if kind != "Node" else "",
        name=name,
        about=text(about, "uid"),
    )


def moment_s(since: str) -> float | None:
    """Unix seconds of a time as the API writes it; None when it is none."""
    try:
        return datetime.fromisoformat(since.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None


def _since(obj: Object) -> str:
    for path in (("series", "lastObservedTime"), ("lastTimestamp",), ("eventTime",)):
        if found := text(obj, *path):
            return found
    return text(obj, "metadata", "creationTimestamp")
