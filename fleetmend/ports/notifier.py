"""A receiver of notifications: a webhook, a pager, the log."""

from typing import Protocol

from fleetmend.model.notifications import Delivery, Notification


class Notifier(Protocol):
    """Never raises for what the receiver answers: the answer is the result."""

    name: str

    def deliver(self, notification: Notification) -> Delivery:
        """One attempt to hand it over."""
        ...
