"""Alertmanager's webhook, version 4: what everything that listens to an Alertmanager takes.

Field names and their order follow `notify/webhook/webhook.go` and `template/template.go` of
prometheus/alertmanager. One incident is one group with one alert. The alert's identity
(`fingerprint` with `startsAt`) stays the same over the incident's life although its severity label
may change: it is the fingerprint of the labels that do not.
"""

from typing import Any

from alerting.answers import attempt
from alerting.decide import cause_of, is_over
from alerting.secrets import SecretFile
from alerting.transport import Poster
from alerting.wording import as_json, headline, rfc3339
from fleetmend.clock import Clock
from fleetmend.errors import PortError
from fleetmend.model.incidents import Incident, Severity
from fleetmend.model.notifications import Delivery, DeliveryState, Notification
from fleetmend.settings.alerting import ReceiverSettings

_NEVER = "0001-01-01T00:00:00Z"
"""How Alertmanager writes the end of an alert that has none."""

_SEVERITY = {
    Severity.P0: "critical",
    Severity.P1: "critical",
    Severity.P2: "warning",
    Severity.P3: "info",
}


def message(notification: Notification, *, receiver: str, console_url: str) -> bytes:
    """The request's body."""
    incident = notification.incident
    identity = {
        "alertname": "FleetmendIncident",
        "cluster": incident.entity.partition("/")[0],
        "incident": incident.id,
    }
    labels = dict(
        sorted(
            {
                **identity,
                "priority": incident.severity.value,
                "severity": _SEVERITY[incident.severity],
            }.items()
        )
    )
    annotations = _annotations(notification)
    status = "resolved" if is_over(incident) else "firing"
    alert = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": rfc3339(incident.opened_at_s),
        "endsAt": _ends_at(incident),
        "generatorURL": notification.link,
        "fingerprint": fingerprint(identity),
    }
    group = ", ".join(f'{name}="{_escaped(value)}"' for name, value in identity.items())
    body: dict[str, Any] = {
        "receiver": receiver,
        "status": status,
        "alerts": [alert],
        "groupLabels": identity,
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "externalURL": console_url,
        "version": "4",
        "groupKey": f"{{}}:{{{group}}}",
        "truncatedAlerts": 0,
    }
    return as_json(body)


def fingerprint(labels: dict[str, str]) -> str:
    """Prometheus' fingerprint of a label set: FNV-1a over 64 bits of the sorted names and values,
    each followed by 0xff (prometheus/common, model/signature.go); 16 hex digits."""
    state = 0xCBF2_9CE4_8422_2325
    for name, value in sorted(labels.items()):
        for byte in name.encode() + b"\xff" + value.encode("utf-8", "replace") + b"\xff":
            state = ((state ^ byte) * 0x100_0000_01B3) & 0xFFFF_FFFF_FFFF_FFFF
    return f"{state:016x}"


class AlertmanagerNotifier:
    """Posts the message; a bearer token goes with it when the receiver has a secret file."""

    def __init__(
        self, receiver: ReceiverSettings, poster: Poster, clock: Clock, *, console_url: str
    ) -> None:
        self.name = receiver.name
        self._receiver = receiver
        self._poster = poster
        self._clock = clock
        self._console_url = console_url

    def deliver(self, notification: Notification) -> Delivery:
        """One attempt."""
        headers = {"Content-Type": "application/json", "User-Agent": "fleetmend"}
        if self._receiver.secret_file:
            try:
                token = SecretFile(self._receiver.secret_file).lines()[0]
            except PortError as error:
                return Delivery(DeliveryState.RETRY, str(error))
            headers["Authorization"] = f"Bearer {token}"
        body = message(notification, receiver=self.name, console_url=self._console_url)
        delivery, _ = attempt(
            self._poster,
            self._receiver.url,
            body=body,
            headers=headers,
            now_s=self._clock.now_s(),
        )
        return delivery


def _annotations(notification: Notification) -> dict[str, str]:
    incident = notification.incident
    return {
        "cause": cause_of(incident),
        "entity": incident.entity,
        "next_check": incident.next_check[:400],
        "reason": notification.reason.value,
        "severity_reason": incident.severity_reason[:400],
        "summary": headline(notification),
    }


def _ends_at(incident: Incident) -> str:
    if not is_over(incident):
        return _NEVER
    ended_s = incident.resolved_at_s
    return rfc3339(incident.updated_at_s if ended_s is None else ended_s)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
