"""Where the console will be reached, settled before anything else starts.

Called by `fleetmend up` and `demo`: notifications link to the console, so its port must be known
when alerting is made, and a port that is taken must end a start before it has touched anything.
"""

import ipaddress
import socket
from urllib.parse import urlsplit

from fleetmend.errors import PortError
from fleetmend.settings import Settings


def settled(settings: Settings, *, listens: bool) -> Settings:
    """The settings with the console's port chosen (`listens`: this process opens it) and
    `alerting.console_url` derived from it where it is not set. Raises PortError for a port that is
    taken."""
    console = settings.console
    if listens:
        port = _free(console.host, console.port)
        console = console.model_copy(update={"port": port})
        settings = settings.model_copy(update={"console": console})
    if settings.alerting.console_url:
        return settings
    alerting = settings.alerting.model_copy(update={"console_url": _reached_at(settings)})
    return settings.model_copy(update={"alerting": alerting})


def doubt(settings: Settings) -> str:
    """Why links in notifications will not lead to the console of these settings; empty when
    nothing speaks against it (a proxy may well have another port)."""
    url, console = settings.alerting.console_url, settings.console
    if not url:
        return ""
    parts = urlsplit(url)
    host = parts.hostname or ""
    named = f"[{host}]" if ":" in host else host
    if named not in console.hosts:
        return (
            f"notifications link to {url}, and the console refuses the name {host}: "
            "add it to console.hosts or change alerting.console_url"
        )
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if _is_local(host) and console.port and port != console.port:
        return (
            f"notifications link to {url}, and the console listens on port {console.port}: "
            "leave alerting.console_url empty, or set it to the address that people use"
        )
    return ""


def _free(host: str, port: int) -> int:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As the server will: a port in TIME_WAIT is free, one that somebody listens on is not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), port))
        except OSError as error:
            raise PortError(
                f"port {port} cannot be listened on: {error.strerror}",
                where=host,
                fix="Set console.port (--port); 0 takes a free one.",
            ) from error
        return int(probe.getsockname()[1])


def _reached_at(settings: Settings) -> str:
    console = settings.console
    host = console.host
    if host in ("0.0.0.0", "::", "[::]"):  # noqa: S104  a comparison
        # Not an address that anybody can follow: the first name by which browsers may call it.
        names = [name for name in console.hosts if not _is_local(name.strip("[]"))]
        host = (names or ["127.0.0.1"])[0]
    shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
    return f"http://{shown}:{console.port}"


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
