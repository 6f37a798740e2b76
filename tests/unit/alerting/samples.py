"""Incidents and notifications for alerting's tests."""

from dataclasses import replace

from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident, IncidentStatus, Severity
from fleetmend.model.notifications import Notification, NotifyReason
from tests.contract.store.samples import incident as plain_incident

AT_S = 1_795_406_582.5
"""2026-11-23T04:03:02.500Z."""


def incident(
    *,
    version: int = 1,
    severity: Severity = Severity.P1,
    status: IncidentStatus = IncidentStatus.OPEN,
    cause: str = "gpu_lost",
    provisional: bool = False,
    title: str = "GPU fell off the bus",
) -> Incident:
    """One record of incident i-1."""
    base = plain_incident(version=version, opened_at_s=AT_S)
    over = status in (IncidentStatus.RESOLVED, IncidentStatus.MERGED)
    return replace(
        base,
        severity=severity,
        status=status,
        provisional=provisional,
        title=title,
        causes=(replace(base.causes[0], cause=cause),) if cause else (),
        next_check="nvidia-smi -q on the node",
        updated_at_s=AT_S + version,
        resolved_at_s=AT_S + version if over else None,
    )


def notification(
    an_incident: Incident | None = None, *, reason: NotifyReason = NotifyReason.OPENED
) -> Notification:
    """For receiver `r`."""
    return Notification(
        id="n-1",
        receiver="r",
        reason=reason,
        incident=an_incident or incident(),
        link="https://fleetmend.example/incidents/i-1",
    )


def resolved() -> Notification:
    """The end of the same incident."""
    over = incident(version=5, status=IncidentStatus.RESOLVED)
    return notification(over, reason=NotifyReason.RESOLVED)


def hostile() -> Notification:
    """What telemetry can do to a message."""
    text = '<b>"\\\n\u202e}{{ .Labels }}\u0007 ' * 300
    base = incident(title=text)
    return notification(
        replace(
            base,
            entity=EntityId("demo/gpu/" + text),
            severity_reason=text,
            next_check=text,
            onset_s=float("nan"),
            opened_at_s=1e300,
            evidence=tuple(replace(base.evidence[0], detail=text) for _ in range(200)),
            affected=tuple(EntityId(f"demo/gpu/{number}{text}") for number in range(200)),
        )
    )
