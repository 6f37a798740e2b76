"""The one decision of alerting: does this receiver hear of this record, and why.

Pure; called by `alerting.service` for each record of an incident and each receiver. A receiver
hears of an incident's opening first and of its end last, and of nothing twice.
"""

from dataclasses import dataclass

from fleetmend.model.incidents import ENDED_INCIDENTS, Incident, Severity
from fleetmend.model.notifications import NotifyReason
from fleetmend.store import Notice

_SILENT = frozenset({NotifyReason.UNCHANGED, NotifyReason.PROVISIONAL, NotifyReason.NOT_ROUTED})


@dataclass(frozen=True, slots=True)
class ReceiverState:
    """What matters of a receiver for one incident."""

    severities: frozenset[Severity]
    """What it takes."""
    told: Notice | None
    """What it was last told about this incident."""
    approval: str = ""
    """Plan and version that wait for a person's decision, or empty."""


def decide(previous: Incident | None, incident: Incident, receiver: ReceiverState) -> NotifyReason:
    """Why the receiver is told of `incident` now, or why not. `previous` is the version held
    before it."""
    if previous is not None and incident.version < previous.version:
        return NotifyReason.UNCHANGED
    told = receiver.told if receiver.told is not None and not receiver.told.closed else None
    if is_over(incident):
        return NotifyReason.UNCHANGED if told is None else NotifyReason.RESOLVED
    if incident.provisional:
        return NotifyReason.PROVISIONAL
    if told is None:
        routed = incident.severity in receiver.severities
        return NotifyReason.OPENED if routed else NotifyReason.NOT_ROUTED
    if incident.severity < told.severity:  # P0 sorts before P1
        return NotifyReason.SEVERITY_RAISED
    if receiver.approval not in ("", told.approval):
        return NotifyReason.APPROVAL_NEEDED
    if cause_of(incident) not in ("", told.cause):
        return NotifyReason.CAUSE_CHANGED
    return NotifyReason.UNCHANGED


def is_sent(reason: NotifyReason) -> bool:
    """Whether a notification leaves for this reason."""
    return reason not in _SILENT


def is_over(incident: Incident) -> bool:
    """Resolved, or carried on by another incident."""
    return incident.status in ENDED_INCIDENTS


def cause_of(incident: Incident) -> str:
    """Fault class and entity of the first cause; empty when none is named."""
    if not incident.causes:
        return ""
    return f"{incident.causes[0].cause} {incident.causes[0].entity}"


def notice_of(
    incident: Incident, reason: NotifyReason, receiver: ReceiverState, *, at_s: float
) -> Notice:
    """What the receiver has been told once this notification has left. The severity is the worst it
    heard, so that going down and up again is no news."""
    told = receiver.told if receiver.told is not None and not receiver.told.closed else None
    worst = incident.severity if told is None else min(incident.severity, told.severity)
    return Notice(
        version=incident.version,
        reason=reason,
        severity=worst,
        cause=cause_of(incident) or (told.cause if told else ""),
        closed=is_over(incident),
        at_s=at_s,
        approval=receiver.approval or (told.approval if told else ""),
    )
