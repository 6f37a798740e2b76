"""`fleetmend halt` and `fleetmend resume`: the one halt, which needs neither log nor store."""

import getpass
from pathlib import Path
from typing import Annotated

import typer

from fleetmend.cli.app import Exit, app
from fleetmend.cli.config import ConfigOption, load
from fleetmend.cli.haltreaders import is_read
from fleetmend.cli.say import Tone, say
from fleetmend.clock import SystemClock
from fleetmend.pipeline import halt_switch
from fleetmend.ports.halt import HaltState
from fleetmend.settings import Settings

UNSAID = "no reason given"

ByOption = Annotated[str, typer.Option(help="Who decides; your login name by default.")]


@app.command("halt")
def halt(
    reason: Annotated[str, typer.Argument(help="Why: shown with every refusal.")] = UNSAID,
    by: ByOption = "",
    config: ConfigOption = None,
) -> None:
    """Stop all side effects within a second, on every switch that the settings name. Exit code 1
    when nobody is known to read them: the switches are set all the same."""
    settings, clock = load(config).settings, SystemClock()
    state = HaltState(True, by or getpass.getuser(), reason, clock.now_s())
    unheard = why_unheard(settings)
    halt_switch(settings, clock).set(state)
    if unheard:
        say(f"set: {switches(settings)}", Tone.DOUBTFUL)
        say(f"but nothing is known to stop: {unheard}", Tone.BAD)
        say(
            "Give the settings of the platform that should stop: --config FILE, or "
            "FLEETMEND_REMEDIATION__HALT_FILE=PATH. `fleetmend demo` prints its own.",
        )
        raise typer.Exit(Exit.FAILED)
    said = f"halted by {state.by}: {switches(settings)}"
    say(said, Tone.BAD)


def why_unheard(settings: Settings) -> str:
    """Why nobody is known to read the switches, before they are set; empty when somebody is, or
    when executors elsewhere read the ConfigMap, which cannot be known from here."""
    switch = Path(settings.remediation.halt_file)
    if settings.remediation.halt_configmap or is_read(switch):
        return ""
    if not switch.exists():
        return f"{switch.resolve()} was not there before, and no process on this machine reads it"
    return f"no process on this machine reads {switch.resolve()}"


@app.command("resume")
def resume(by: ByOption = "", config: ConfigOption = None) -> None:
    """Go on after a halt, or for the first time: a switch that is not there counts as halted."""
    settings, clock = load(config).settings, SystemClock()
    state = HaltState(False, by or getpass.getuser(), "", clock.now_s())
    halt_switch(settings, clock).set(state)
    say(f"running: {switches(settings)}", Tone.GOOD)


def switches(settings: Settings) -> str:
    """Which switches were set, in full: executors elsewhere may read others."""
    remediation = settings.remediation
    named = [str(Path(remediation.halt_file).resolve())]
    if remediation.halt_configmap:
        named.append(f"ConfigMap {remediation.halt_configmap}")
    return ", ".join(named)
