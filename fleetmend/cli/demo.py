"""`fleetmend demo`: the whole platform in one process, on a simulated fleet that breaks by
itself."""

import random
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from fleetmend.cli.address import settled
from fleetmend.cli.app import app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.demofolder import begin_anew
from fleetmend.cli.say import say
from fleetmend.cli.up import run
from fleetmend.clock import SystemClock
from fleetmend.errors import SettingsError
from fleetmend.logs import configure
from fleetmend.pipeline import Parts, Role
from fleetmend.settings import Loaded, Settings
from fleetmend.settings.simulator import SimulatorSettings
from fleetmend.store import Store
from fleetmend.streams.engines import open_log
from remediation.halt import FileHalt
from remediation.notices import StoreNotices
from remediation.runbook_files import runbooks_of
from remediation.world import Ports
from simulator.catalogue import CATALOGUE
from simulator.fleet import Fleet
from simulator.layout import GPUS_PER_NODE

SMALL_GPUS = 200
"""Below so many GPUs a pool has few nodes, and one of them is too much to spare at the usual load:
the capacity guard would hold every act."""
SMALL_LOAD = 0.25
"""Share of slots in use on an average day of a small fleet."""
OWN_PLACES = ("streams.path", "store.url", "remediation.halt_file")
"""What a demonstration forgets or sets on go: it must be its own."""


@app.command("demo")
def demo(
    gpus: Annotated[int, typer.Option(help="GPUs of the simulated fleet, a multiple of 8.")] = 1000,
    port: Annotated[int, typer.Option(help="Port of the console; 0 takes a free one.")] = 8460,
    bootstrap: Annotated[str, typer.Option(help="Kafka broker; empty: the embedded log.")] = "",
    data: Annotated[
        Path, typer.Option(help="Folder of log and store, begun anew; a demonstration's own.")
    ] = Path("var/demo"),
    seed: Annotated[int, typer.Option(help="Seed of the fleet; 0 takes a random one.")] = 0,
    config: ConfigOption = None,
) -> None:
    """Start everything with a simulated fleet whose pools are set to auto."""
    if gpus < GPUS_PER_NODE or gpus % GPUS_PER_NODE:
        raise SettingsError(f"--gpus {gpus}", fix=f"Use a multiple of {GPUS_PER_NODE}.")
    flags: dict[str, Any] = {"simulator.gpus": gpus, "console.port": port}
    if bootstrap:
        flags |= {"streams.engine": "kafka", "streams.bootstrap": bootstrap}
    loaded = load(config, flags, preset=demo_preset(data, gpus))
    refuse_foreign_places(loaded)
    settings = settled(loaded.settings, listens=True)
    runbooks_of(settings.remediation.runbooks)
    begin_anew(data)
    FileHalt(Path(settings.remediation.halt_file)).create()
    configure(role="demo")
    clock = SystemClock()
    store = Store(settings.store.url, clock, settings=settings.store)
    store.migrate()
    say(f"simulating {gpus} GPUs ...")
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
    run(
        parts,
        frozenset(Role),
        faults=fleet.faults,
        ready=lambda address: announce(address, settings),
        simulated=in_words(settings.simulator),
    )


def demo_preset(data: Path, gpus: int) -> dict[str, Any]:
    """What the demonstration sets unless a file or the environment says otherwise."""
    preset = {
        "cluster": "sim",
        "streams.path": str(data / "log.db"),
        "streams.partitions": 1,
        "streams.prefix": "fleetmend-demo.",
        "store.url": f"sqlite:///{data / 'store.db'}",
        "remediation.halt_file": str(data / "halt.json"),
        "remediation.default.autonomy": "auto",
        "console.auth": "local-demo",
        # Deploys of a fleet that runs this full leave single engines without room for a moment.
        "simulator.faults.deploy_every_s": 0.0,
        "simulator.life.on_call_s": 90.0,
        "alerting.receivers": [{"name": "log", "kind": "log", "severities": ["P0", "P1"]}],
    }
    if gpus < SMALL_GPUS:
        preset["simulator.load.mean_running"] = SMALL_LOAD
    return preset


def refuse_foreign_places(loaded: Loaded) -> None:
    """A settings file of a real installation must not lend its log, store or halt switch to a
    demonstration. Raises SettingsError."""
    for key in OWN_PLACES:
        origin = loaded.origins.get(key, "default")
        if origin != "preset":
            raise SettingsError(
                f"a demonstration keeps its own; this one comes from {origin}",
                where=key,
                fix="Leave it out, and name a folder with --data DIR.",
            )


def in_words(simulator: SimulatorSettings) -> str:
    """What who opens the console should know: that nothing here is real, and what will happen."""
    per_gpu_hour = sum(spec.per_gpu_hour for spec in CATALOGUE.values())
    per_s = per_gpu_hour * simulator.gpus * simulator.faults.speed_up / 3_600
    comes = "faults come only when you make one"
    if per_s > 0:
        every_s = 1 / per_s
        span = f"{every_s:.0f} s" if every_s < 120 else f"{every_s / 60:.0f} min"
        comes = f"a fault comes by itself about every {span}, or make one"
    said = f"Simulated fleet of {simulator.gpus:,} GPUs: {comes}."
    if simulator.gpus < SMALL_GPUS:
        load = simulator.load.mean_running
        said += (
            f" Small pools have little to spare: at {load:.0%} load some repairs are still held "
            "by the guards, and wait for you."
        )
    return said


def announce(address: str, settings: Settings) -> None:
    """Where the console is, and how to halt and look from another terminal."""
    switch = Path(settings.remediation.halt_file).resolve()
    store = Path(settings.store.url.removeprefix("sqlite:///")).resolve()
    halt = shlex.quote(f"FLEETMEND_REMEDIATION__HALT_FILE={switch}")
    audit = shlex.quote(f"FLEETMEND_STORE__URL=sqlite:///{store}")
    say(f"\nfleetmend is running: {address}")
    say(
        f"{in_words(settings.simulator)}\n"
        f"  halt:  env {halt} fleetmend halt\n"
        f"  go on: env {halt} fleetmend resume\n"
        f"  audit: env {audit} fleetmend audit verify\n"
        "Ctrl C stops it.\n",
    )
