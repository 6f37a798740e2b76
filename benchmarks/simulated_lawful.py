"""Hard negatives on the simulated fleet: what must open no incident, each by itself.

Used by `benchmarks.simulated` and `tests/simulation/test_hard_negatives.py`. The load leaves room:
at the simulator's usual half of all slots a router that deals at random lets single engines run
full for seconds at times, and their clients do wait then.
"""

from benchmarks.simulated_folds import Watched, folds
from fleetmend.settings.simulator import (
    FaultSchedule,
    LawfulLife,
    SimulatedLoad,
    SimulatorSettings,
)

MEAN_RUNNING = 0.35
HOUR_S = 3_600.0

LOADS = {
    # A day in an hour: the load rises 24 times faster than it would.
    "load growth": {"day_s": HOUR_S, "day_swing": 0.25, "growth_per_day": 0.2},
    "longer prompts": {"day_s": HOUR_S, "day_swing": 0.0, "prompt_swing": 0.35},
    "clients leave": {"disconnect_every_s": 60.0},
    "autoscaling": {"day_s": 1_800.0, "day_swing": 0.4},
}
LIVES = {
    "autoscaling": {"autoscale": True, "autoscale_down_s": 30.0},
    "maintenance": {"maintenance_every_s": 1.0, "maintenance_s": 60.0, "drain_s": 5.0},
}
DEPLOYS = {"deploys": 25.0}
LAWFUL = tuple(dict.fromkeys((*LOADS, *DEPLOYS, *LIVES)))
"""Names of the scenes."""


def lawful_settings(name: str, *, gpus: int) -> SimulatorSettings:
    """The fleet of one scene; nothing else happens in it."""
    load = {"mean_running": MEAN_RUNNING, **LOADS.get(name, {})}
    quiet = FaultSchedule(speed_up=0, deploy_every_s=DEPLOYS.get(name, 0.0), quiet_s=30.0)
    return SimulatorSettings(
        gpus=gpus,
        faults=quiet,
        load=SimulatedLoad.model_validate(load),
        lawful=LawfulLife.model_validate(LIVES.get(name, {})),
    )


def incidents_in(settings: SimulatorSettings, *, seed: int, seconds: int) -> list[str]:
    """The first cause of every incident that opens in a fleet where none should."""
    fleet, both = Watched(settings, seed), folds()
    for _ in range(seconds):
        both.take(fleet.second())
    first = {one.id: one for one in reversed(both.incidents)}
    return [one.causes[0].cause if one.causes else "none" for one in first.values()]
