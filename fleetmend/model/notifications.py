"""Notifications: what alerting hands to a channel, and what became of it."""

from dataclasses import dataclass
from enum import StrEnum

from fleetmend.model.incidents import Incident


class NotifyReason(StrEnum):
    """Why a notification leaves, or does not. Decided in one place, kept with it."""

    OPENED = "opened"
    SEVERITY_RAISED = "severity_raised"
    CAUSE_CHANGED = "cause_changed"
    APPROVAL_NEEDED = "approval_needed"
    RESOLVED = "resolved"
    UNCHANGED = "unchanged"
    """Nothing that the receiver does not know: not sent."""
    PROVISIONAL = "provisional"
    """Waits for the tick to confirm: not sent."""
    NOT_ROUTED = "not_routed"
    """This receiver does not take incidents of this severity: not sent."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One message for one receiver; `id` stays the same over retries."""

    id: str
    receiver: str
    reason: NotifyReason
    incident: Incident
    link: str
    """The console's page of the incident."""
    title: str = ""
    """The incident's title with the names that were known when this was written; empty: as it
    is. Names of engines are gone with their pods, so they are kept here."""
    place: str = ""
    """What the incident is on, by name: `node-003/gpu:5, pool chat`; empty: the entity's id."""


class DeliveryState(StrEnum):
    """What a receiver made of a notification."""

    ACCEPTED = "accepted"
    RETRY = "retry"
    """Try again later (429, 5xx, no answer)."""
    REJECTED = "rejected"
    """Understood and refused: kept as a dead letter."""
    GONE = "gone"
    """The receiver asks to be left alone (410): it is switched off."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """The outcome of one attempt."""

    state: DeliveryState
    detail: str
    retry_after_s: float | None = None
    answer: bytes = b""
    """What came back, when it could not be understood: kept as a dead letter."""
