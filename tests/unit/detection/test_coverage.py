"""Silence: who is missing, who is frozen, and who is only inside something that is missing."""

import pytest

from fleetmend.model.coverage import Freshness
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Finding
from fleetmend.model.samples import SampleBatch
from tests.unit.detection.play import (
    ENGINE,
    GPU,
    NODE,
    PEER,
    Life,
    Play,
    Rows,
    calm,
    closed,
    fleet,
    names,
    opened,
)


def without(rows: Rows, *entities: EntityId) -> Rows:
    return {key: value for key, value in rows.items() if key[0] not in entities}


def coverage(play: Play) -> list[Finding]:
    return [f for f in opened(play.findings) if f.detector == "coverage"]


def test_an_entity_that_falls_silent_is_absent_after_a_while_and_over_when_it_speaks() -> None:
    life, play = calm(30)
    silent = [bool(coverage_of(play.feed(without(life.rows(), ENGINE)))) for _ in range(10)]
    (finding,) = coverage(play)

    assert silent.index(True) == 5
    assert (finding.entity, finding.reason, finding.witness) == (ENGINE, "absent", Witness.SILENCE)
    assert names(finding) == {"telemetry_absent"}
    assert finding.onset_s == 30.0
    assert [f.id for f in closed(play.run(life, 5)) if f.detector == "coverage"] == [finding.id]


def coverage_of(findings: list[Finding]) -> list[Finding]:
    return [f for f in findings if f.detector == "coverage"]


def test_a_source_that_speaks_seldom_is_given_more_time() -> None:
    life, play = Life(), Play()
    for tick in range(40):
        play.feed(life.rows() if tick % 4 == 0 else without(life.rows(), ENGINE))
    assert coverage(play) == []
    for _ in range(8):
        play.feed(without(life.rows(), ENGINE))
    assert coverage(play) == []
    for _ in range(5):
        play.feed(without(life.rows(), ENGINE))
    assert [f.entity for f in coverage(play)] == [ENGINE]


def test_figures_that_a_gpu_tells_seldom_are_neither_missed_nor_held_to_be_frozen() -> None:
    """As the node agent reads what is dear: beside others each second. Once one has come at its own
    pace for long, its end is missed."""
    life, play = Life(), Play()
    for tick in range(160):
        rows = life.rows()
        if tick % 20 == 0:
            rows[GPU, "gpu.energy"] = 700.0 * tick
            rows[GPU, "gpu.throttle_thermal"] = 0.0
        play.feed(rows)
    assert coverage(play) == []

    play.run(life, 120)
    assert [(f.entity, f.reason) for f in coverage(play)] == [(GPU, "stale")]


def test_the_silence_of_a_whole_node_is_one_finding_on_the_node() -> None:
    gpus = (GPU, PEER)
    life, play = Life(gpus=gpus), Play(topology=fleet(gpus=gpus))
    other = entity_id("c", EntityKind.NODE, "node-9")
    for _ in range(30):
        play.feed(life.rows() | {(other, "node.cpu_busy"): 0.5})
    for _ in range(10):
        play.feed({(other, "node.cpu_busy"): 0.5})
    (finding,) = coverage(play)

    assert (finding.entity, finding.reason) == (NODE, "absent")


def test_a_gpu_that_is_missing_from_a_node_that_is_heard_is_its_own_finding() -> None:
    gpus = (GPU, PEER)
    life, play = calm(30, gpus=gpus)
    for _ in range(10):
        play.feed(without(life.rows(), PEER))
    assert [f.entity for f in coverage(play)] == [PEER]


def test_an_exporter_that_cannot_be_read_does_not_accuse_its_gpus() -> None:
    gpus = (GPU, PEER)
    life, play = calm(30, gpus=gpus, node_gpu_scrape_up=1.0)
    for _ in range(12):
        play.feed(without(life.rows(node_gpu_scrape_up=0.0), *gpus))
    assert {(f.entity, f.reason) for f in coverage(play)} == {(NODE, "exporter_down")}


def test_a_scraper_that_says_so_makes_an_absence_known_at_once() -> None:
    life, play = calm(30, engine_scrape_up=1.0)
    for _ in range(2):
        play.feed(without(life.rows(), ENGINE) | {(ENGINE, "engine.scrape_up"): 0.0})
    assert [f.entity for f in coverage(play)] == [ENGINE]


def test_failed_scrapes_told_as_events_count_as_well() -> None:
    life, play = calm(30)
    for number in range(3):
        at_s = play.tick + 1.5
        data: dict[str, str | int | float | bool] = {"outcome": "refused"}
        event = Event(f"s{number}", "scraper", EventType.SCRAPE, at_s, ENGINE, data=data)
        play.feed(without(life.rows(), ENGINE), events=[event])
    assert [f.entity for f in coverage(play)] == [ENGINE]


def test_frozen_gauges_behind_a_good_answer_are_found() -> None:
    life, play = calm(60)
    still = life.rows()
    for _ in range(25):
        fresh = life.rows()
        play.feed({key: still[key] if key[0] == GPU else fresh[key] for key in fresh})
    assert {(f.entity, f.reason) for f in coverage(play)} == {(GPU, "frozen")}


def test_an_idle_engine_stands_still_lawfully() -> None:
    life, play = calm(60)
    idle = life.rows(engine_requests_running=0.0, engine_requests_waiting=0.0)
    for _ in range(30):
        fresh = life.rows()
        play.feed({key: idle[key] if key[0] == ENGINE else fresh[key] for key in fresh})
    assert coverage(play) == []


def test_signals_that_always_came_and_stop_make_telemetry_stale() -> None:
    life, play = calm(60)
    for _ in range(15):
        rows = life.rows()
        del rows[GPU, "gpu.sm_active"], rows[GPU, "gpu.dram_active"]
        play.feed(rows)
    (finding,) = coverage(play)
    assert (finding.entity, finding.reason) == (GPU, "stale")
    assert "gpu.sm_active" in finding.detail


def test_a_jump_over_time_in_which_nobody_spoke_blames_nobody() -> None:
    life, play = calm(60)
    play.feed(life.rows(), skip=3000)
    play.run(life, 10)
    assert coverage(play) == []


def test_samples_that_come_only_after_their_tick_make_telemetry_stale() -> None:
    life, play = calm(30)
    for _ in range(4):
        rows = life.rows()
        late = SampleBatch.from_rows(
            (play.tick + 0.5, str(e), s, v) for (e, s), v in rows.items() if e == GPU
        )
        play.feed(without(rows, GPU), late=[late])
    assert {(f.entity, f.reason) for f in coverage(play)} == {(GPU, "stale")}


def test_what_is_known_and_never_heard_is_said_in_the_end_where_others_speak() -> None:
    life, play = Life(), Play(topology=fleet(gpus=(GPU, PEER)))
    play.run(life, 31)
    assert coverage(play) == []
    play.feed(life.rows(), skip=329)
    assert {(f.entity, f.reason) for f in coverage(play)} == {(PEER, "never_heard")}


@pytest.mark.parametrize(("page", "missed"), [("gpu_scrape_", False), ("scrape_", True)])
def test_a_node_is_missed_only_where_its_own_page_is_asked_for(page: str, missed: bool) -> None:
    life, play = Life(), Play()
    told = {(NODE, f"node.{page}up"): 1.0, (NODE, f"node.{page}seconds"): 0.01}
    states: dict[EntityId, Freshness] = {}
    for skip in (*[0] * 31, 329, *[0] * 31):
        play.feed(without(life.rows(), NODE) | told, skip=skip)
        states |= {entry.entity: entry.state for entry in play.entries}
    assert ((NODE, "never_heard") in {(f.entity, f.reason) for f in coverage(play)}) is missed
    assert (states.get(NODE) is Freshness.NEVER) is missed


def test_a_gpu_exporter_that_stands_still_is_one_finding_and_freezes_its_gpus() -> None:
    gpus = (GPU, PEER)
    life, play = calm(40, gpus=gpus, node_gpu_scrape_up=1.0, node_gpu_scrape_unchanged=0.0)
    still = life.rows()
    states: dict[EntityId, Freshness] = {}
    for at in range(24):
        rows = life.rows(node_gpu_scrape_up=1.0, node_gpu_scrape_unchanged=float(at))
        play.feed({key: still[key] if key[0] in gpus else rows[key] for key in rows})
        states |= {entry.entity: entry.state for entry in play.entries}
    assert {(f.entity, f.reason) for f in coverage(play)} == {(NODE, "exporter_frozen")}
    assert {states[gpu] for gpu in gpus} == {Freshness.FROZEN}
    assert states.get(NODE, Freshness.FRESH) is Freshness.FRESH


def test_an_exporter_that_refreshes_seldom_is_given_its_own_time() -> None:
    """Its page stands still for twenty seconds each time, which is more than frozen gauges get."""
    life, play = Life(), Play()
    for at in range(130):
        play.feed(life.rows(node_gpu_scrape_up=1.0, node_gpu_scrape_unchanged=float(at % 20)))
    assert coverage(play) == []


def test_a_source_that_was_away_for_long_is_missed_again_as_soon_as_before() -> None:
    """An outage is no cadence: the silence after it must not be measured by it."""
    life, play = calm(30)
    for _ in range(100):
        play.feed(without(life.rows(), ENGINE))
    play.run(life, 10)
    before = len(coverage(play))
    for _ in range(20):
        play.feed(without(life.rows(), ENGINE))
    assert len(coverage(play)) == before + 1
