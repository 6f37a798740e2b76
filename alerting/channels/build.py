"""From settings to notifiers. Called by the composition root."""

from alerting.channels.alertmanager import AlertmanagerNotifier
from alerting.channels.log import LogNotifier
from alerting.channels.pagerduty import PagerDutyNotifier
from alerting.channels.webhook import WebhookNotifier
from alerting.guard import Resolve
from alerting.transport import HttpPoster
from fleetmend.clock import Clock
from fleetmend.ports.notifier import Notifier
from fleetmend.settings.alerting import AlertingSettings, ReceiverSettings


def build_notifiers(
    settings: AlertingSettings, clock: Clock, resolve: Resolve
) -> dict[str, Notifier]:
    """A notifier for each receiver, by name; each posts only where its own settings allow."""
    return {
        receiver.name: _notifier(receiver, settings, clock, resolve)
        for receiver in settings.receivers
    }


def _notifier(
    receiver: ReceiverSettings, settings: AlertingSettings, clock: Clock, resolve: Resolve
) -> Notifier:
    if receiver.kind == "log":
        return LogNotifier(receiver.name)
    poster = HttpPoster(
        clock=clock,
        resolve=resolve,
        networks=receiver.networks,
        timeout_s=settings.timeout_s,
        answer_bytes_max=settings.answer_bytes_max,
        ca_file=receiver.ca_file,
    )
    match receiver.kind:
        case "alertmanager":
            return AlertmanagerNotifier(receiver, poster, clock, console_url=settings.console_url)
        case "pagerduty":
            return PagerDutyNotifier(receiver, poster, clock)
        case "webhook":
            return WebhookNotifier(receiver, poster, clock)
