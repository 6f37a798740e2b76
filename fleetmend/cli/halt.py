"""`fleetmend halt` and `fleetmend resume`: the one halt, which needs neither log nor store."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from fleetmend.cli.app import app, say
from fleetmend.cli.settings import ConfigOption, load
from fleetmend.clock import SystemClock
from fleetmend.pipeline import halt_switch
from fleetmend.ports.halt import HaltState
from fleetmend.settings import Settings

ByOption = Annotated[str, typer.Option(help="Who decides; your login name by default.")]


@app.command("halt")
def halt(
    reason: Annotated[str, typer.Argument(help="Why: shown with every refusal.")],
    by: ByOption = "",
    config: ConfigOption = None,
) -> None:
    """Stop all side effects within a second, on every switch that the settings name."""
    settings, clock = load(config).settings, SystemClock()
    state = HaltState(True, by or getpass.getuser(), reason, clock.now_s())
    halt_switch(settings, clock).set(state)
    say.print(f"halted by {state.by}: {switches(settings)}", style="red", markup=False)


@app.command("resume")
def resume(by: ByOption = "", config: ConfigOption = None) -> None:
    """Go on after a halt, or for the first time: a switch that is not there counts as halted."""
    settings, clock = load(config).settings, SystemClock()
    state = HaltState(False, by or getpass.getuser(), "", clock.now_s())
    halt_switch(settings, clock).set(state)
    say.print(f"running: {switches(settings)}", style="green", markup=False)


def switches(settings: Settings) -> str:
    """Which switches were set, in full: executors elsewhere may read others."""
    remediation = settings.remediation
    named = [str(Path(remediation.halt_file).resolve())]
    if remediation.halt_configmap:
        named.append(f"ConfigMap {remediation.halt_configmap}")
    return ", ".join(named)
