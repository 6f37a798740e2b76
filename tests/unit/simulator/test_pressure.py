"""What faults may press on, and how two of them add up."""

import numpy as np
import pytest

from fleetmend.settings.simulator import SimulatorSettings
from simulator.catalogue import CATALOGUE
from simulator.layout import build_layout
from simulator.pressure import Pressure, neutral, no_pressure

LAYOUT = build_layout(SimulatorSettings(gpus=64), np.random.default_rng(1))
FIELDS = set(Pressure.__dataclass_fields__)
FIRST = np.array([0])


def test_every_fault_presses_on_fields_that_exist() -> None:
    for spec in CATALOGUE.values():
        for press in (*spec.presses, *spec.lead):
            assert press.field in FIELDS, f"{spec.name}: {press.field}"


@pytest.mark.parametrize("name", sorted(FIELDS))
def test_without_faults_every_field_is_neutral(name: str) -> None:
    assert (getattr(no_pressure(LAYOUT), name) == neutral(name)).all()


@pytest.mark.parametrize(
    ("name", "values", "result"),
    [
        ("engine_slow", (2.0, 1.5), 3.0),
        ("foreign_bytes", (1e9, 2e9), 3e9),
        ("gpu_lost", (1, 1), True),
        ("throttle_bits", (4, 32), 36),
    ],
)
def test_two_faults_on_one_thing_combine(
    name: str, values: tuple[float, float], result: float
) -> None:
    pressure = no_pressure(LAYOUT)
    for value in values:
        pressure.press(name, FIRST, value)

    assert getattr(pressure, name)[0] == result
    assert getattr(pressure, name)[1] == neutral(name)
