"""`fleetmend simulate`: a fault that could not happen is refused, not left out."""

import pytest
import typer

from fleetmend.cli.simulate import refuse_faults

FAULT = "gpu_fallen_off_bus"


def test_a_fault_after_the_end_is_refused_with_the_seconds_that_it_needs() -> None:
    with pytest.raises(typer.BadParameter, match="--seconds more than 90"):
        refuse_faults([FAULT], seconds=50, every=400)
    refuse_faults([FAULT], seconds=91, every=400)


def test_the_last_of_several_counts() -> None:
    with pytest.raises(typer.BadParameter, match="--seconds more than 490"):
        refuse_faults([FAULT, FAULT], seconds=300, every=400)


def test_an_unknown_fault_is_answered_with_those_that_there_are() -> None:
    with pytest.raises(typer.BadParameter, match=f"'gpu_falls'; known: .*{FAULT}"):
        refuse_faults(["gpu_falls"], seconds=900, every=400)


def test_a_fleet_left_to_itself_needs_no_fault() -> None:
    refuse_faults([], seconds=10, every=400)
