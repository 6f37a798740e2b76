"""A signed webhook of our own shape, by the Standard Webhooks specification.

Headers `webhook-id` (the same over retries, so a receiver can tell a repeat), `webhook-timestamp`
(of this attempt) and `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over
`id.timestamp.body`, one for each secret, separated by spaces. Body: `{type, timestamp, data}`.
"""

import base64
import binascii
import hashlib
import hmac

from alerting.answers import attempt
from alerting.secrets import SecretFile
from alerting.transport import Poster
from alerting.wording import as_json, brief, headline, rfc3339
from fleetmend.clock import Clock
from fleetmend.errors import PortError
from fleetmend.model.notifications import Delivery, DeliveryState, Notification, NotifyReason
from fleetmend.settings.alerting import ReceiverSettings

_PREFIX = "whsec_"

_TYPES = {
    NotifyReason.OPENED: "incident.opened",
    NotifyReason.APPROVAL_NEEDED: "action.proposed",
    NotifyReason.RESOLVED: "incident.resolved",
}


def payload(notification: Notification) -> bytes:
    """The request's body; the same notification is always the same bytes."""
    incident = notification.incident
    return as_json(
        {
            "type": _TYPES.get(notification.reason, "incident.updated"),
            "timestamp": rfc3339(incident.updated_at_s),
            "data": {
                "reason": notification.reason.value,
                "summary": headline(notification),
                "link": notification.link,
                "incident": brief(incident),
            },
        }
    )


def signed_headers(
    secrets: tuple[str, ...], *, id: str, timestamp_s: int, body: bytes
) -> dict[str, str]:
    """The three headers. Raises PortError when a secret is not base64."""
    signed = f"{id}.{timestamp_s}.".encode() + body
    signatures = [
        base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()
        for secret in secrets
    ]
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(f"v1,{signature}" for signature in signatures),
    }


class WebhookNotifier:
    """Posts and signs with every secret of the receiver's file."""

    def __init__(self, receiver: ReceiverSettings, poster: Poster, clock: Clock) -> None:
        self.name = receiver.name
        self._url = receiver.url
        self._secret = SecretFile(receiver.secret_file)
        self._poster = poster
        self._clock = clock

    def deliver(self, notification: Notification) -> Delivery:
        """One attempt."""
        body = payload(notification)
        now_s = self._clock.now_s()
        try:
            headers = signed_headers(
                self._secret.lines(), id=notification.id, timestamp_s=int(now_s), body=body
            )
        except PortError as error:
            return Delivery(DeliveryState.RETRY, str(error))
        headers |= {"Content-Type": "application/json", "User-Agent": "fleetmend"}
        delivery, _ = attempt(self._poster, self._url, body=body, headers=headers, now_s=now_s)
        return delivery


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if not key:  # an error of the decoder would hold the secret
        raise PortError("a webhook secret is not `whsec_` and base64")
    return key
