"""Notifications as they lie in the outbox: JSON, so that a later version can read them."""

from pydantic import TypeAdapter, ValidationError

from fleetmend.errors import BadInput
from fleetmend.model.notifications import Notification

_NOTIFICATION = TypeAdapter(Notification)


def encode(notification: Notification) -> bytes:
    """The row's body."""
    return _NOTIFICATION.dump_json(notification)


def decode(body: bytes) -> Notification:
    """The notification again. Raises BadInput."""
    try:
        return _NOTIFICATION.validate_json(body)
    except ValidationError as error:
        raise BadInput(
            f"the message cannot be read ({error.error_count()} faults)", where="outbox"
        ) from error
