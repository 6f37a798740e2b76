"""PagerDuty Events v2: trigger while an incident is open, resolve when it is over.

Limits by PagerDuty's documentation of the Events API v2: summary 1024 characters, dedup_key 255,
the event less than 512,000 bytes. The deduplication key is the incident's, so that changes of one
incident never page twice.
"""

import hashlib
import json
from typing import Any

from alerting.answers import attempt
from alerting.decide import is_over
from alerting.secrets import SecretFile
from alerting.transport import Poster
from alerting.wording import as_json, brief, headline, rfc3339
from fleetmend.clock import Clock
from fleetmend.errors import PortError
from fleetmend.model.incidents import Severity
from fleetmend.model.notifications import Delivery, DeliveryState, Notification
from fleetmend.settings.alerting import ReceiverSettings

ENQUEUE_URL = "https://events.pagerduty.com/v2/enqueue"
SUMMARY_CHARS_MAX = 1024
DEDUP_KEY_CHARS_MAX = 255
EVENT_BYTES_MAX = 512_000
_FIELD_CHARS_MAX = 255

_SEVERITY = {
    Severity.P0: "critical",
    Severity.P1: "error",
    Severity.P2: "warning",
    Severity.P3: "info",
}


def event(notification: Notification, *, routing_key: str) -> bytes:
    """The request's body, smaller than 512,000 bytes: `custom_details` are dropped first."""
    incident = notification.incident
    head: dict[str, Any] = {
        "routing_key": routing_key,
        "event_action": "resolve" if is_over(incident) else "trigger",
        "dedup_key": dedup_key(incident.id),
    }
    if is_over(incident):
        return as_json(head)
    payload: dict[str, Any] = {
        "summary": headline(notification)[:SUMMARY_CHARS_MAX],
        "source": incident.entity[:_FIELD_CHARS_MAX],
        "severity": _SEVERITY[incident.severity],
        "timestamp": rfc3339(incident.opened_at_s),
        "component": incident.entity.split("/", 2)[-1][:_FIELD_CHARS_MAX],
        "group": incident.entity.partition("/")[0][:_FIELD_CHARS_MAX],
        "class": (incident.causes[0].cause if incident.causes else "unknown")[:_FIELD_CHARS_MAX],
    }
    details = {"reason": notification.reason.value, **brief(incident)}
    tail = {
        "links": [{"href": notification.link, "text": "Open in fleetmend"}],
        "client": "fleetmend",
        "client_url": notification.link,
    }
    whole = as_json({**head, "payload": {**payload, "custom_details": details}, **tail})
    if len(whole) < EVENT_BYTES_MAX:
        return whole
    return as_json({**head, "payload": payload, **tail})


def dedup_key(incident_id: str) -> str:
    """`fleetmend:<incident id>`; an id too long for that is given by its digest."""
    key = f"fleetmend:{incident_id}"
    if len(key) <= DEDUP_KEY_CHARS_MAX:
        return key
    return "fleetmend:" + hashlib.blake2b(incident_id.encode(), digest_size=16).hexdigest()


class PagerDutyNotifier:
    """Posts the event with the routing key from the receiver's secret file."""

    def __init__(self, receiver: ReceiverSettings, poster: Poster, clock: Clock) -> None:
        self.name = receiver.name
        self._url = receiver.url or ENQUEUE_URL
        self._secret = SecretFile(receiver.secret_file)
        self._poster = poster
        self._clock = clock

    def deliver(self, notification: Notification) -> Delivery:
        """One attempt. A 2xx without PagerDuty's own words did not come from PagerDuty: a login
        page of some proxy has swallowed the page, so it is tried again."""
        try:
            routing_key = self._secret.lines()[0]
        except PortError as error:
            return Delivery(DeliveryState.RETRY, str(error))
        delivery, answer = attempt(
            self._poster,
            self._url,
            body=event(notification, routing_key=routing_key),
            headers={"Content-Type": "application/json", "User-Agent": "fleetmend"},
            now_s=self._clock.now_s(),
        )
        if delivery.state is not DeliveryState.ACCEPTED or answer is None:
            return delivery
        if _is_success(answer.body):
            return delivery
        said = f"{delivery.detail}, but not in PagerDuty's words"
        return Delivery(DeliveryState.RETRY, said, answer=answer.body or b"?")


def _is_success(body: bytes) -> bool:
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return False
    return isinstance(answer, dict) and answer.get("status") == "success"
