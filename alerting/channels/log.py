"""The platform's own log as a receiver: what there is before anybody has set up another."""

import logging

from alerting.wording import as_json, brief, headline
from fleetmend.model.notifications import Delivery, DeliveryState, Notification

logger = logging.getLogger(__name__)


def line(notification: Notification) -> bytes:
    """One line of JSON without line breaks."""
    incident = notification.incident
    return as_json(
        {
            "notification": notification.id,
            "reason": notification.reason.value,
            "summary": headline(notification),
            "link": notification.link,
            "incident": brief(incident),
        }
    )


class LogNotifier:
    """Writes a warning: somebody may need to act."""

    def __init__(self, name: str) -> None:
        self.name = name

    def deliver(self, notification: Notification) -> Delivery:
        """Always accepted."""
        logger.warning("notification", extra={"notification": line(notification).decode()})
        return Delivery(DeliveryState.ACCEPTED, "logged")
