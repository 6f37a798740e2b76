"""How far silence reaches, and which states count as missing: the one page that all rooms read."""

import pytest

from fleetmend.model.coverage import MISSING, Coverage, Freshness
from fleetmend.model.entities import EntityId
from fleetmend.views.coverage import PART_MISSING, SILENCE_SYMPTOMS, SYMPTOM_OF, covered
from fleetmend.views.topology import TopologyView
from tests.unit.detection.scraped import (
    CLUSTER,
    ENGINES,
    GPUS,
    NODES,
    POOL,
    SCRAPER,
    agent,
    scraped,
)

INSIDE = {NODES[0], ENGINES[0], *GPUS[:2]}


@pytest.fixture(scope="module")
def topology() -> TopologyView:
    view = TopologyView()
    for change in scraped(agents=True):
        view.apply(change)
    return view


@pytest.mark.parametrize(
    ("domain", "reached"),
    [
        (GPUS[0], {GPUS[0], ENGINES[0]}),
        (ENGINES[0], {ENGINES[0]}),
        (NODES[0], INSIDE),
        (agent(NODES[0]), {agent(NODES[0]), *INSIDE}),
        (SCRAPER, {SCRAPER, *NODES, *ENGINES, *GPUS}),
        (POOL, {POOL, *NODES, *ENGINES, *GPUS}),
        (CLUSTER, {CLUSTER, SCRAPER, POOL, *NODES, *ENGINES, *GPUS}),
    ],
)
def test_silence_reaches_what_is_watched_or_held(
    topology: TopologyView, domain: EntityId, reached: set[EntityId]
) -> None:
    assert covered(domain, topology) == reached


def test_every_state_that_is_missing_shows_and_no_other() -> None:
    assert SYMPTOM_OF.keys() == MISSING
    assert {*SYMPTOM_OF.values(), PART_MISSING} == SILENCE_SYMPTOMS
    assert {Freshness.FRESH, Freshness.LATE} == set(Freshness) - MISSING


def test_an_entry_counts_what_is_expected_and_names_what_is_missing() -> None:
    signals = {
        Freshness.FRESH: ("a", "b"),
        Freshness.LATE: ("c",),
        Freshness.ABSENT: ("z", "d"),
        Freshness.NEVER: ("e",),
    }
    entry = Coverage(GPUS[0], 1.0, Freshness.LATE, 0.0, signals=signals)
    assert entry.expected == 6
    assert entry.missing == ("d", "e", "z")
