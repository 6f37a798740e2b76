"""Every word that findings use is a catalogue signal, a derived one, or in the list of the
spine."""

import re
from pathlib import Path

import pytest

from detection.derive import DERIVED
from detection.rules.tables import counter_policies
from detection.sensitivity import sensitivities
from detection.units import units
from fleetmend.signals.catalogue import catalogue

ROOT = Path(__file__).parents[3]
SPINE = (ROOT / "docs" / "spine.md").read_text()
PAGE = (ROOT / "detection" / "README.md").read_text()


@pytest.mark.parametrize("name", sorted(sensitivities()))
def test_every_judged_signal_is_known(name: str) -> None:
    assert name in catalogue().signals or name in {derived.name for derived in DERIVED}


@pytest.mark.parametrize("derived", DERIVED, ids=lambda derived: derived.name)
def test_every_derived_signal_is_in_the_spine_and_in_the_page(derived: object) -> None:
    name = getattr(derived, "name", "")
    assert f"`{name}`" in SPINE
    assert f"`{name}`" in PAGE
    assert name not in catalogue().signals
    assert units()[name]


def test_the_page_speaks_of_no_signal_that_does_not_exist() -> None:
    words = set(re.findall(r"`((?:gpu|engine|node|switch)\.[a-z0-9_]+)`", PAGE))
    assert len(words) > 20
    assert words <= set(units())


def test_every_state_in_the_page_is_in_the_spine() -> None:
    states = {"no_progress", "queue_without_work", "busy_without_work", "memory_released"}
    states |= {"foreign_process", "probe_failed", "telemetry_absent", "telemetry_frozen"}
    for state in states | {"telemetry_stale"}:
        assert f"`{state}`" in SPINE
        assert f"`{state}`" in PAGE


def test_every_watched_counter_is_known() -> None:
    assert {policy.signal for policy in counter_policies()} <= set(catalogue().signals)
