"""`fleetmend demo`: the whole platform in one process, on a simulated fleet that breaks by
itself."""

import random
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetmend.cli.app import app, say
from fleetmend.cli.settings import ConfigOption, load
from fleetmend.cli.up import run
from fleetmend.clock import SystemClock
from fleetmend.logs import configure
from fleetmend.pipeline import Parts, Role
from fleetmend.store import Store
from fleetmend.streams.engines import open_log
from remediation.halt import FileHalt
from remediation.notices import StoreNotices
from remediation.world import Ports
from simulator.fleet import Fleet


@app.command("demo")
def demo(
    gpus: Annotated[int, typer.Option(help="GPUs of the simulated fleet, a multiple of 8.")] = 1000,
    port: Annotated[int, typer.Option(help="Port of the console; 0 takes a free one.")] = 8460,
    bootstrap: Annotated[str, typer.Option(help="Kafka broker; empty: the embedded log.")] = "",
    data: Annotated[Path, typer.Option(help="Folder of log and store, begun anew.")] = Path(
        "var/demo"
    ),
    seed: Annotated[int, typer.Option(help="Seed of the fleet; 0 takes a random one.")] = 0,
    config: ConfigOption = None,
) -> None:
    """Start everything with a simulated fleet whose pools are set to auto."""
    start_afresh(data)
    flags: dict[str, Any] = {"simulator.gpus": gpus, "console.port": port}
    if bootstrap:
        flags |= {"streams.engine": "kafka", "streams.bootstrap": bootstrap}
    settings = load(config, flags, preset=demo_preset(data)).settings
    FileHalt(Path(settings.remediation.halt_file)).create()
    configure(role="demo")
    clock = SystemClock()
    store = Store(settings.store.url, clock, settings=settings.store)
    store.migrate()
    say.print(f"simulating {gpus} GPUs ...", markup=False)
    chosen = seed or random.randrange(1, 2**31)  # noqa: S311  picks a fleet, guards nothing
    fleet = Fleet(settings.simulator, chosen, start_s=clock.now_s())
    parts = Parts(
        settings=settings,
        clock=clock,
        log=open_log(settings.streams, clock),
        store=store,
        ports=lambda: Ports(
            cluster=fleet.cluster,
            traffic=fleet.traffic,
            engines=fleet.engines,
            notices=StoreNotices(store, clock, role="remediator"),
        ),
        fleet=fleet,
    )
    run(parts, frozenset(Role), faults=fleet.faults, ready=_announce)


def start_afresh(data: Path) -> None:
    """Forget the last demonstration: its own files, nothing else in the folder."""
    data.mkdir(parents=True, exist_ok=True)
    for pattern in ("log.db*", "store.db*", "halt.json"):
        for path in data.glob(pattern):
            path.unlink()


def demo_preset(data: Path) -> dict[str, Any]:
    """What the demonstration sets unless a file or the environment says otherwise."""
    return {
        "cluster": "sim",
        "streams.path": str(data / "log.db"),
        "streams.partitions": 1,
        "store.url": f"sqlite:///{data / 'store.db'}",
        "remediation.halt_file": str(data / "halt.json"),
        "remediation.default.autonomy": "auto",
        "console.auth": "local-demo",
        # Rollouts of the simulated fleet restart engines in place, which still reads as a crash.
        "simulator.faults.deploy_every_s": 0.0,
        "simulator.life.on_call_s": 90.0,
        "alerting.receivers": [{"name": "log", "kind": "log", "severities": ["P0", "P1"]}],
    }


def _announce(address: str) -> None:
    say.print(f"\nfleetmend is running: {address}\nCtrl C stops it.\n", style="bold", markup=False)
