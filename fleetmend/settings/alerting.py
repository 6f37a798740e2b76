"""Settings of alerting: who is told of what, and how stubbornly."""

from ipaddress import IPv4Network, IPv6Network
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from fleetmend.model.incidents import Severity
from fleetmend.settings.section import Section


class ReceiverSettings(Section):
    """One receiver of notifications."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]{0,39}$")
    """Name in the audit log and in messages; what was sent is remembered under it."""
    kind: Literal["alertmanager", "pagerduty", "webhook", "log"]
    """Format: an Alertmanager webhook (version 4), PagerDuty Events v2, a signed Standard Webhook,
    or a line in the log."""
    severities: tuple[Severity, ...] = Field(min_length=1)
    """Severities it is told of (`P0` is the worst). No default: silence and noise are both
    somebody's decision."""
    url: str = ""
    """Where to post, `https://...`; plain http only into `networks`. Not for `log`; PagerDuty's
    own address when empty."""
    secret_file: str = ""
    """File that holds the secret, never the secret itself: the routing key for `pagerduty`, one
    `whsec_...` a line for `webhook` (every line signs, so keys can be changed over), a bearer
    token for `alertmanager` (may be empty there). Read at each attempt."""
    ca_file: str = ""
    """File of certificates (PEM) that sign the receiver's, instead of the public authorities."""
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks that are not public and may be posted to all the same, `10.1.0.0/16`. Empty: no
    loopback, private, link-local or metadata address is ever posted to."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "log":
            if self.url or self.secret_file:
                raise ValueError("a log receiver takes neither url nor secret_file")
            return self
        if self.kind in ("pagerduty", "webhook") and not self.secret_file:
            raise ValueError(f"a {self.kind} receiver needs secret_file")
        if self.kind != "pagerduty" and not self.url:
            raise ValueError(f"a {self.kind} receiver needs url")
        if self.url:
            _check_url(self.url)
        return self


class AlertingSettings(Section):
    """Who is told, and what is done when they do not answer."""

    receivers: tuple[ReceiverSettings, ...] = (
        ReceiverSettings(name="log", kind="log", severities=tuple(Severity)),
    )
    """Receivers. By default only the platform's own log: nothing leaves the machine."""
    console_url: str = Field(default="", pattern=r"^(https?://.*[^/])?$")
    """Address of the console as people reach it, without a slash at the end: where links lead.
    Empty: made from `console.host` and `console.port`, which suits who sits at the machine."""
    timeout_s: float = Field(default=10.0, gt=0, le=60)
    """Seconds for one attempt. 10: a receiver that takes longer has its message twice at worst."""
    retry_s: tuple[float, ...] = Field(
        default=(5.0, 30.0, 120.0, 600.0, 1800.0, 7200.0, 21600.0), min_length=1, max_length=50
    )
    """Seconds between attempts; after the last the message is a dead letter. Nine hours in all:
    longer than most outages of a receiver, shorter than a night."""
    jitter: float = Field(default=0.2, ge=0, le=1)
    """Share of a wait that is added by chance at most: messages must not come back in step."""
    batch_max: int = Field(default=10, ge=1, le=1000)
    """Messages to one receiver in one pass: a slow one must not keep the others waiting."""
    answer_bytes_max: int = Field(default=65_536, ge=1024)
    """Bytes of an answer that are read. Receivers answer with a line."""
    keep_delivered_s: float = Field(default=7 * 86_400.0, gt=0)
    """Seconds that delivered messages are kept to look at. A week; the audit log keeps the fact."""

    @model_validator(mode="after")
    def _names_are_unique(self) -> Self:
        names = [receiver.name for receiver in self.receivers]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"two receivers are named {twice[0]!r}")
        if any(wait_s <= 0 for wait_s in self.retry_s):
            raise ValueError("every wait of retry_s must be more than 0 seconds")
        return self


def _check_url(url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("url must be https://HOST/PATH (or http:// into one of networks)")
    if parts.username or parts.password:
        raise ValueError("url must not hold a password: settings are printed; use secret_file")
