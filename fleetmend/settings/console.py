"""Settings of the console: who may look, who may decide, and what is bounded."""

import ipaddress
from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from fleetmend.settings.section import Section


class ConsoleRole(StrEnum):
    """What a person may do; each role may do what those before it may."""

    VIEWER = "viewer"
    """Look, the audit log included."""
    OPERATOR = "operator"
    """Approve, deny, undo, halt, note, label causes."""
    ADMIN = "admin"
    """Lift a halt, make faults on purpose."""


class PersonSettings(Section):
    """One person or program with a token of its own."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._@-]{0,63}$")
    """What the audit log calls them."""
    role: ConsoleRole
    """`viewer` looks; `operator` also approves, denies, undoes and halts; `admin` also lifts a
    halt. No default: somebody decides it."""
    token_sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    """SHA-256 of the token, in hexadecimal: settings are printed and logged, so they never hold the
    token. The token must be random (`openssl rand -hex 32`), or its hash gives it away."""


class ConsoleSettings(Section):
    """The web console and its API."""

    host: str = "127.0.0.1"
    """Address to listen on. Loopback: what faces a network needs `auth = "token"`."""
    port: int = Field(default=8460, ge=0, le=65535)
    """TCP port; 0 takes a free one."""
    hosts: tuple[str, ...] = ("127.0.0.1", "localhost", "[::1]")
    """Names by which browsers may address the console (the Host header without its port). Others
    are refused, so that a foreign name that resolves to this machine gains nothing."""
    auth: Literal["token", "local-demo"] = "token"
    """Who may decide: `token` asks for a token; `local-demo` lets everybody who reaches the page,
    and is refused on any address but loopback."""
    token_file: str = "var/operator.token"
    """File that holds the first token, at least 16 characters: whoever has it is an admin and says
    their name when they log in. Made by `fleetmend up` where there is none; empty: only `people`
    have tokens."""
    people: tuple[PersonSettings, ...] = ()
    """People and programs with a token and a role of their own."""
    read: Literal["open", "login"] = "login"
    """Who may look: only who is logged in, or (`open`) everybody who reaches the page: incidents
    name tenants' models, pods and log lines."""
    login_s: float = Field(default=12 * 3600.0, gt=0)
    """Seconds a login holds. 12 h: one shift."""
    secure_cookie: bool = False
    """Mark the login cookie `Secure`: true behind TLS, false on plain loopback."""
    page_size: int = Field(default=50, ge=1, le=200)
    """Rows of a list on one page."""
    text_chars_max: int = Field(default=400, ge=40)
    """Characters of one piece of telemetry text that a page shows. 400: a log line, not a dump."""
    chart_points_max: int = Field(default=400, ge=20)
    """Points of one chart. 400: more than its pixels would need."""
    body_bytes_max: int = Field(default=65_536, ge=1024)
    """Bytes of a request's body. A note is the largest thing that anybody sends."""
    writes_per_min: int = Field(default=60, ge=1)
    """Changes a minute by one person; a person makes far fewer. A halt is never refused for it."""
    logins_per_min: int = Field(default=10, ge=1)
    """Wrong tokens a minute from one address. A right one is never refused for it, so nobody behind
    the same address can lock others out."""
    poll_s: float = Field(default=0.5, gt=0)
    """Seconds between looks at the store for the live stream; one look serves every reader."""
    heartbeat_s: float = Field(default=15.0, gt=0)
    """Seconds between heartbeats of a live stream."""
    stream_events_max: int = Field(default=1024, ge=16)
    """Events kept for readers that reconnect; who missed more is told to read everything again."""
    stream_readers_max: int = Field(default=256, ge=1)
    """Live streams at once; more get 503."""
    stream_readers_each: int = Field(default=16, ge=1)
    """Live streams at once of one person, or of one address where reading is open; more get 503.
    16: one for each tab."""
    audit_recheck_s: float = Field(default=600.0, gt=0)
    """Seconds after which the whole audit chain is verified from its start once more."""

    @model_validator(mode="after")
    def _demo_stays_at_home(self) -> Self:
        if self.auth == "local-demo" and not _loopback(self.host):
            raise ValueError(
                "console.auth = local-demo lets everybody decide, so console.host must be loopback"
            )
        return self

    @model_validator(mode="after")
    def _people_can_be_told_apart(self) -> Self:
        for what in ("name", "token_sha256"):
            if len({getattr(person, what) for person in self.people}) < len(self.people):
                raise ValueError(f"console.people: two have the same {what}")
        if not self.token_file and not any(p.role is ConsoleRole.ADMIN for p in self.people):
            raise ValueError("console.people has no admin and console.token_file is empty")
        return self


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False
