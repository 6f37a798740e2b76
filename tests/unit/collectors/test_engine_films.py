"""Recorded faults of a real engine: what its pages, answers and log lines said while it broke, seen
by the collectors and detection again. `make test-engine` makes the recordings.
"""

from pathlib import Path

import pytest

from tests.engine.film import Film, play
from tests.engine.reports import FAULTS, missing, said_wrongly

FILMS = Path(__file__).parents[2] / "data" / "engine"


def test_every_fault_has_its_film() -> None:
    found = {path.name.partition(".")[0] for path in FILMS.glob("*.jsonl.xz")}
    assert found == set(FAULTS)


@pytest.mark.parametrize("name", FAULTS)
def test_what_was_reported_of_a_real_fault_is_reported_of_its_film(
    name: str, tmp_path: Path
) -> None:
    film = Film(FILMS / f"{name}.jsonl.xz")
    told = play(film, tmp_path)
    assert missing(FAULTS[name], told, film.begun_s) == []
    assert said_wrongly(FAULTS[name], told, film.begun_s) == []
