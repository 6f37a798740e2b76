"""Events: things that happened once, as CloudEvents 1.0.

The wire form is CloudEvents JSON (structured mode), see `fleetmend.streams.codec`. `id` together
with `source` identifies an event: a second copy is the same event, never a second one.
"""

import hashlib
from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.model.entities import EntityId


class EventType(StrEnum):
    """What happened. The CloudEvents `type` is `io.fleetmend.` plus this."""

    XID = "gpu.xid"
    """data: xid (int), pci, pid, process, witness."""
    SXID = "switch.sxid"
    LOG_SIGNATURE = "log.signature"
    """data: signature (name in the catalogue of log patterns), line (capped), witness."""
    NODE_CONDITION = "node.condition"
    """data: condition, status, reason."""
    CLUSTER_EVENT = "cluster.event"
    """What a component of the cluster reports about an object (`kubectl get events`). data: reason,
    message (capped), type, component, object, count, since, witness."""
    CHANGE = "change"
    """data: change (rollout, config, driver, cordon, scale ...), what (from -> to), who."""
    HEARTBEAT = "heartbeat"
    """A collector lives; carries a watermark: nothing older than `time_s` will follow from it."""
    PROBE = "probe"
    """data: what was asked, ok, duration_s."""
    SCRAPE = "scrape"
    """data: target, outcome (`ok`, `refused`, `timeout`, `http_503`, `empty` ...), samples."""
    PROCESS = "process"
    """What a process of a GPU did or suffered, seen by the kernel's programs: data: what
    (`allocation_failed`, `wait_stuck`, `wait_over`, `communicator`, `exit`, `oom_victim`), pid,
    process, witness."""
    ACTION = "action"
    """fleetmend itself changed something: so that the change is not taken for a fault."""


class Witness(StrEnum):
    """The channel by which something is known; two witnesses must differ in this to count as two.

    A log line is one witness at most, and a kernel line counts only with facility 0 (user space
    cannot forge it): otherwise it is APPLICATION_LOG.
    """

    KERNEL_LOG = "kernel_log"
    DRIVER_EVENT = "driver_event"
    APPLICATION_LOG = "application_log"
    TELEMETRY = "telemetry"
    """Numbers from an exporter."""
    SILENCE = "silence"
    """Numbers that should be there and are not."""
    PROBE = "probe"
    CLUSTER_API = "cluster_api"
    PEER = "peer"
    MODEL = "model"
    """A learned detector: may propose, never decides alone."""


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent."""

    id: str
    source: str
    """Who reports, `collector/kmsg/node-3`."""
    type: EventType
    time_s: float
    subject: EntityId
    """The entity it is about, as precisely as the source knows."""
    node: str = ""
    """Partition key: events of one node keep their order."""
    data: dict[str, str | int | float | bool] = field(default_factory=dict)


def event_id(*parts: object) -> str:
    """A stable id from what makes the event itself: the same observation twice gives one id."""
    text = "\x1f".join(str(part) for part in parts)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
