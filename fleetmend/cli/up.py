"""`fleetmend up`: the platform from a settings file; `--role` splits it over processes."""

import signal
import threading
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from prometheus_client import CollectorRegistry

from fleetmend.cli.address import doubt, settled
from fleetmend.cli.app import app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.haltreaders import reading
from fleetmend.cli.openfiles import OpenFiles, files_of
from fleetmend.cli.say import Tone, say
from fleetmend.clock import Clock, SystemClock
from fleetmend.errors import SettingsError
from fleetmend.health import HealthPages, ServiceMetrics
from fleetmend.logs import configure
from fleetmend.pipeline import Parts, Role, services, showing
from fleetmend.ports.faults import FaultInjector
from fleetmend.services import ServiceThreads
from fleetmend.settings import Settings
from fleetmend.streams.engines import open_log

if TYPE_CHECKING:
    from console.deps import ConsoleDeps
    from console.server import ConsoleServer
    from fleetmend.store import Store
    from remediation.world import Ports

RolesOption = Annotated[
    str,
    typer.Option(
        "--role", help="collector, detector, rca, remediator, console; or several, by commas."
    ),
]


@app.command("up")
def up(roles: RolesOption = "all", config: ConfigOption = None) -> None:
    """Run the platform until it is stopped."""
    chosen = parse_roles(roles)
    settings = load(config).settings
    refuse_split(settings, chosen)
    refuse_demo(settings)
    settings = settled(settings, listens=Role.CONSOLE in chosen)
    configure(role="+".join(sorted(chosen)) if len(chosen) < len(Role) else "all")
    clock = SystemClock()
    store = store_for(settings, chosen, clock)
    parts = Parts(
        settings=settings,
        clock=clock,
        log=open_log(settings.streams, clock),
        store=store,
        ports=lambda: real_ports(settings, parts.stored(), clock),
    )
    for warning in warnings(settings, chosen):
        say(warning, Tone.DOUBTFUL)
    run(parts, chosen)


def warnings(settings: Settings, roles: frozenset[Role]) -> list[str]:
    """What somebody who starts this should know: that nothing will be acted on, that links lead
    nowhere."""
    said = []
    if Role.REMEDIATOR in roles:
        from fleetmend.pipeline import halt_switch

        state = halt_switch(settings, SystemClock()).state()
        if not Path(settings.remediation.halt_file).exists():
            said.append(
                f"halted: never set up ({settings.remediation.halt_file} is not there). Nothing "
                "will be acted on until somebody says so: run `fleetmend resume` once"
            )
        elif state.halted:
            said.append(f"halted by {state.by}: {state.reason}. `fleetmend resume` lifts it")
        if unreachable := doubt(settings):
            said.append(unreachable)
    return said


def run(
    parts: Parts,
    roles: frozenset[Role],
    *,
    faults: FaultInjector | None = None,
    ready: Callable[[str], None] | None = None,
    simulated: str = "",
) -> None:
    """Start every service of these roles and wait for SIGTERM or Ctrl C. `ready` is told the
    console's address; `simulated` says on its pages what kind of fleet this is, when no real
    one."""
    switch = Path(parts.settings.remediation.halt_file)
    with reading(switch) if Role.REMEDIATOR in roles else nullcontext():
        _run(parts, roles, faults=faults, ready=ready, simulated=simulated)


def _run(
    parts: Parts,
    roles: frozenset[Role],
    *,
    faults: FaultInjector | None,
    ready: Callable[[str], None] | None,
    simulated: str,
) -> None:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    wanted = services(parts, roles)
    deps = None
    if Role.CONSOLE in roles:
        deps, beside = showing(parts, faults)
        wanted += beside
    threads = ServiceThreads(wanted, parts.clock)
    files = OpenFiles(files_of(parts.settings))

    def unready() -> list[str]:
        return [*threads.unready(), *files.unready()]

    server = None
    if deps is not None:
        server = console_server(replace(deps, unready=unready, simulated=simulated))
    parts.registry.register(ServiceMetrics(threads))
    pages = health_pages(parts, unready, parts.registry)
    if server is not None:  # first: a port that is taken must not end a process that acts already
        address = server.start()
        (ready or (lambda at: say(f"console at {at}")))(address)
    if parts.telemetry is not None:
        parts.telemetry.show(parts.registry)
    threads.start()
    stop.wait()
    threads.ask_to_stop()
    if server is not None:
        server.stop()
    threads.stop()
    if parts.telemetry is not None:
        parts.telemetry.close()
    if pages is not None:
        pages.close()
    parts.log.close()
    if parts.store is not None:
        parts.store.close()


def store_for(settings: Settings, roles: frozenset[Role], clock: Clock) -> "Store | None":
    """The store, its tables in their newest form; None for a collector that has none: it runs on
    every node, and a node should not need the database's password. Raises StoreError."""
    if roles == {Role.COLLECTOR} and settings.store.url.startswith("sqlite"):
        return None
    from fleetmend.store import Store

    store = Store(settings.store.url, clock, settings=settings.store)
    store.migrate()
    return store


def console_server(deps: "ConsoleDeps") -> "ConsoleServer":
    """The console, not started yet. Writes the operator's token where there is none."""
    from console.auth import ensure_token
    from console.server import ConsoleServer

    token = Path(deps.settings.token_file)
    if deps.settings.auth == "token" and ensure_token(token):
        say(f"wrote a new operator token to {token}")
    return ConsoleServer(deps)


def health_pages(
    parts: Parts, unready: Callable[[], list[str]], registry: CollectorRegistry
) -> HealthPages | None:
    """The health pages, where a port is set."""
    settings = parts.settings.health
    if not settings.port:
        return None
    return HealthPages(settings.host, settings.port, unready=unready, registry=registry)


def parse_roles(text: str) -> frozenset[Role]:
    """The roles named; `all` is every one."""
    if text == "all":
        return frozenset(Role)
    known = {role.value for role in Role}
    names = {name.strip() for name in text.split(",")}
    if unknown := sorted(names - known):
        raise typer.BadParameter(f"unknown role {unknown[0]!r}; known: {', '.join(sorted(known))}")
    return frozenset(Role(name) for name in names)


def refuse_demo(settings: Settings) -> None:
    """Everybody who reaches the page may decide in a demonstration: never over a real fleet.
    Raises SettingsError."""
    if settings.console.auth == "local-demo":
        raise SettingsError(
            "local-demo is for the simulated fleet of `fleetmend demo`",
            where="console.auth",
            fix='Set console.auth = "token".',
        )


def refuse_split(settings: Settings, roles: frozenset[Role]) -> None:
    """The embedded log and SQLite are for one process with every role. Raises SettingsError."""
    if len(roles) == len(Role):
        return
    if settings.streams.engine == "embedded":
        raise SettingsError(
            "roles cannot be split over processes with the embedded log",
            where="streams.engine",
            fix='Set streams.engine = "kafka", or run all roles in one process.',
        )
    if settings.store.url.startswith("sqlite") and roles != {Role.COLLECTOR}:
        raise SettingsError(
            "roles cannot be split over processes with SQLite",
            where="store.url",
            fix="Set store.url to a PostgreSQL database.",
        )


def real_ports(settings: Settings, store: "Store", clock: Clock) -> "Ports":
    """The world that remediation acts on, as the settings say; what is not wired refuses. Raises
    SettingsError for a cluster that the settings do not lead to."""
    from fleetmend.ports.cluster import Cluster
    from remediation.absent import AbsentCluster, AbsentEngines, AbsentTraffic
    from remediation.notices import StoreNotices
    from remediation.world import Ports

    remediation = settings.remediation
    cluster: Cluster = AbsentCluster()
    if remediation.kubernetes:
        from remediation.kubernetes import KubernetesCluster
        from remediation.kubernetes_rest import connect

        rest = connect(kubeconfig=remediation.kubeconfig, timeout_s=remediation.request_timeout_s)
        cluster = KubernetesCluster(rest, foreign_owners=remediation.foreign_owners)
    return Ports(
        cluster=cluster,
        traffic=AbsentTraffic(),
        engines=AbsentEngines(),
        notices=StoreNotices(store, clock, role="remediator"),
    )
