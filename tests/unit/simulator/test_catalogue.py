"""The catalogue of faults as data."""

import csv
import re
from pathlib import Path

import numpy as np
import pytest

from fleetmend.errors import PortRefused
from fleetmend.model.entities import EntityKind
from fleetmend.settings.simulator import SimulatorSettings
from simulator.catalogue import CATALOGUE
from simulator.faults import FaultSpec, LogLine, Mend, Xid
from simulator.journal import Journal
from simulator.layout import build_layout
from tests.unit.simulator.fleets import small_fleet

KNOWLEDGE = Path(__file__).parents[3] / "rca" / "knowledge" / "classes"
SIGNATURES = Path(__file__).parents[3] / "collectors" / "data" / "log_signatures.csv"

specs = pytest.mark.parametrize("spec", CATALOGUE.values(), ids=CATALOGUE)


@specs
def test_every_fault_does_something_and_can_end(spec: FaultSpec) -> None:
    assert spec.presses or spec.moments
    assert spec.per_gpu_hour > 0
    assert Mend.ON_CALL not in spec.mends, "a person ends every fault at last"
    if Mend.ITSELF in spec.mends:
        assert 0 < spec.lasts_s[0] <= spec.lasts_s[1]


@specs
def test_every_fault_has_a_class_that_a_diagnosis_can_name(spec: FaultSpec) -> None:
    """The names of causes are those of root cause analysis."""
    assert (KNOWLEDGE / f"{spec.cause or spec.name}.toml").exists()


@specs
def test_every_line_is_one_that_collectors_would_find_under_its_signature(spec: FaultSpec) -> None:
    rows = csv.DictReader(SIGNATURES.read_text(encoding="utf-8").splitlines())
    known = [(row["signature"], re.compile(row["regex"])) for row in rows]
    for moment in spec.moments:
        if isinstance(moment, LogLine):
            found = {name for name, pattern in known if pattern.search(moment.line)}
            assert moment.signature in found


def test_an_xid_names_one_gpu_or_nothing() -> None:
    """A kernel line is about a GPU, so only faults of GPUs write Xids."""
    for spec in CATALOGUE.values():
        if any(isinstance(moment, Xid) for moment in spec.moments):
            assert spec.target is EntityKind.GPU


def test_kernel_lines_about_xids_are_found_as_such() -> None:
    """Each Xid of the catalogue, printed as the driver prints it, read as collectors read it."""
    rows = csv.DictReader(SIGNATURES.read_text(encoding="utf-8").splitlines())
    patterns = [re.compile(row["regex"]) for row in rows if row["signature"] == "xid"]
    layout = build_layout(SimulatorSettings(gpus=64), np.random.default_rng(1))
    journal = Journal(layout)
    xids = [m for spec in CATALOGUE.values() for m in spec.moments if isinstance(m, Xid)]
    for xid in xids:
        journal.xid(3, xid.number, xid.text, process=xid.process, at_s=1.0)
    for xid, event in zip(xids, journal.take(), strict=True):
        found = [m for p in patterns if (m := p.search(str(event.data["line"])))]
        assert int(found[0]["xid"]) == xid.number == event.data["xid"]
        assert found[0]["pci"] == event.data["pci"]
        assert event.subject == layout.gpu_ids[3]


def test_everything_in_the_catalogue_is_on_offer() -> None:
    offers = small_fleet().faults.offers()

    assert [offer.name for offer in offers] == list(CATALOGUE)
    assert all(offer.title and offer.target_kind for offer in offers)


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(PortRefused, match="no fault is called 'meteor'"):
        small_fleet().faults.inject("meteor")


def test_a_target_of_the_wrong_kind_is_refused() -> None:
    fleet = small_fleet()
    with pytest.raises(PortRefused, match="is no gpu"):
        fleet.faults.inject("gpu_fallen_off_bus", fleet.layout.node_ids[0])


def test_without_a_target_one_is_chosen_that_serves() -> None:
    fleet = small_fleet()
    hit = fleet.faults.inject("gpu_fallen_off_bus").target

    assert hit in fleet.layout.gpu_ids
    node = fleet.layout.gpu_ids.index(hit) // 8
    pods = fleet.cluster.pods_on(fleet.layout.nodes[node])
    assert any(not pod.daemon for pod in pods)
