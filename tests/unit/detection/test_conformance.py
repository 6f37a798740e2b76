"""What every detector must bear, tried on all of them together as the stage asks them.

The story below has a calm stretch and most faults that detectors know; each test plays it in
another way and compares or looks at what is said.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pytest

from fleetmend.model.entities import EntityKind, RelationKind, TopologyChange, TopologyOp, entity_id
from fleetmend.model.events import Event, Witness
from fleetmend.model.findings import Finding, FindingState
from fleetmend.streams.snapshot import pack, unpack
from tests.unit.detection.play import (
    ENGINE,
    GPU,
    NODE,
    PEER,
    Life,
    Play,
    Rows,
    accusing,
    fleet,
    line,
    names,
    relation,
    stage,
    xid,
)

QUICK = {"forest_calm_s": 10.0, "forest_trees": 10}
"""A small forest that is fitted early, so that it takes part."""


@dataclass(frozen=True)
class Second:
    """One tick of the story."""

    rows: Rows
    events: tuple[Event, ...] = ()


def story() -> list[Second]:
    """Two ranks of one engine: calm, then one trouble after the other."""
    gpus = (GPU, PEER)
    life = Life(gpus=gpus)
    seconds = [Second(life.rows()) for _ in range(45)]
    for at in range(6):
        rows = life.rows(gpu_processes_foreign=1.0, gpu_sm_active=0.9, gpu_power=600.0)
        seconds.append(
            Second(rows, (xid(31, 45.5, witness=Witness.KERNEL_LOG),) if at == 0 else ())
        )
    seconds += [Second(life.rows()) for _ in range(4)]
    for _ in range(6):
        seconds.append(
            Second(life.rows(engine_requests_waiting=30.0, engine_ttft_p50=5.0, gpu_sm_active=0.02))
        )
    for _ in range(8):
        rows = life.rows(gpu_sm_active=0.0, gpu_utilization=0.0, gpu_power=120.0)
        seconds.append(Second({k: v for k, v in rows.items() if k[0] != ENGINE}))
    seconds.append(Second(life.rows(), (line("worker_died", 69.5),)))
    life.tokens = life.prompts = life.done = 0.0
    seconds += [Second(life.rows(gpu_ecc_dbe=float(at))) for at in range(5)]
    return seconds


STORY = story()


def fresh() -> Play:
    return Play(stage(**QUICK), topology=fleet(gpus=(GPU, PEER)))


def told(play: Play, seconds: list[Second]) -> list[list[Finding]]:
    return [play.feed(second.rows, events=second.events) for second in seconds]


@pytest.fixture(scope="module")
def once() -> list[list[Finding]]:
    """What is said of the story, tick by tick."""
    return told(fresh(), STORY)


def test_the_story_makes_every_kind_of_detector_speak(once: list[list[Finding]]) -> None:
    said = {finding.detector for findings in once for finding in findings}
    assert said >= {"rules", "watchdog", "coverage", "relation", "baseline", "forest"}


def test_the_same_ticks_give_the_same_findings(once: list[list[Finding]]) -> None:
    assert told(fresh(), STORY) == once


def test_a_prefix_gives_the_same_findings_up_to_the_cut(once: list[list[Finding]]) -> None:
    assert told(fresh(), STORY[:50]) == once[:50]


def moved(play: Play) -> Play:
    """The same place in the story with a new stage, restored from the bytes of a snapshot."""
    _, state = unpack(pack(None, play.stage.snapshot()))
    other = stage(**QUICK)
    other.restore(state)
    later = Play(other, topology=())
    later.tick = play.tick
    return later


def test_a_stage_restored_at_any_tick_goes_on_as_if_nothing_had_happened(
    once: list[list[Finding]],
) -> None:
    play, going_on = fresh(), []
    for second in STORY:
        going_on.append(play.feed(second.rows, events=second.events))
        play = moved(play)
    assert going_on == once


def test_a_snapshot_right_after_restoring_is_the_snapshot_that_was_restored() -> None:
    play = fresh()
    told(play, STORY[:60])
    before = pack(None, play.stage.snapshot())
    assert pack(None, moved(play).stage.snapshot()) == before


def test_a_stage_that_has_seen_nothing_can_be_saved_and_restored() -> None:
    _, state = unpack(pack(None, stage().snapshot()))
    other = stage()
    other.restore(state)
    assert Play(other).feed(STORY[0].rows) == []


def holes(seed: int) -> Iterator[Second]:
    """The story with a third of its values missing."""
    rng = np.random.default_rng(seed)
    for second in STORY:
        kept = {key: value for key, value in second.rows.items() if rng.random() > 0.33}
        yield replace(second, rows=kept)


def test_missing_data_breaks_nothing_and_the_xid_is_still_told() -> None:
    findings = [f for said in told(fresh(), list(holes(1))) for f in said]
    assert any("xid.31" in names(finding) for finding in findings)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), 1.7e308, -1.0, 0.0])
def test_absurd_values_break_nothing(value: float) -> None:
    play = fresh()
    told(play, STORY[:20])
    for second in STORY[20:40]:
        play.feed(dict.fromkeys(second.rows, value))
    for finding in play.findings:
        assert all(np.isfinite(symptom.score) for symptom in finding.symptoms)
        assert 0.0 <= finding.confidence <= 1.0


def test_a_fleet_without_numbers_says_nothing() -> None:
    play = fresh()
    for _ in range(30):
        assert play.feed() == []


def test_constant_series_of_an_idle_fleet_accuse_nobody() -> None:
    rows = Life(gpus=(GPU, PEER)).rows(engine_requests_running=0.0)
    play = fresh()
    for _ in range(12):
        play.feed(rows)
    assert accusing(play.findings) == []


def test_counters_that_start_again_accuse_nobody() -> None:
    life, play = Life(gpus=(GPU, PEER)), fresh()
    for _ in range(60):
        if play.tick % 20 == 19:
            life.tokens = life.prompts = life.done = 0.0
        play.feed(life.rows())
    assert accusing(play.findings) == []


@pytest.mark.parametrize("skip", [1, 30, 700, 100_000])
def test_a_jump_in_time_accuses_nobody(skip: int) -> None:
    life, play = Life(gpus=(GPU, PEER)), fresh()
    play.run(life, 40)
    play.feed(life.rows(), skip=skip)
    play.run(life, 20)
    assert accusing(play.findings) == []


def test_an_entity_that_appears_late_is_learnt_before_it_is_judged() -> None:
    late = entity_id("c", EntityKind.GPU, "GPU-9")
    life, play = Life(gpus=(GPU, PEER)), fresh()
    play.run(life, 40)
    more = Life(gpus=(GPU, PEER, late))
    more.tokens, more.prompts, more.done = life.tokens, life.prompts, life.done
    join = [
        TopologyChange(40.0, TopologyOp.ENTITY, late),
        relation(late, NODE, RelationKind.PART_OF, at_s=40.0),
    ]
    play.feed(more.rows(), topology=join)
    for _ in range(40):
        play.feed(more.rows())
    assert accusing(play.findings) == []


def test_an_entity_that_goes_lawfully_is_not_missed() -> None:
    life, play = Life(gpus=(GPU, PEER)), fresh()
    play.run(life, 40)
    alone = Life(gpus=(GPU,))
    alone.tokens, alone.prompts, alone.done = life.tokens, life.prompts, life.done
    play.feed(alone.rows(), topology=[TopologyChange(40.0, TopologyOp.ENTITY_GONE, PEER)])
    for _ in range(20):
        play.feed(alone.rows())
    assert PEER not in {finding.entity for finding in accusing(play.findings)}


def test_how_often_a_value_is_sent_within_a_tick_changes_no_verdict() -> None:
    slow, fast = fresh(), fresh()
    for second in STORY[:52]:
        slow.feed(second.rows, events=second.events)
        fast.feed(second.rows, events=second.events, hz=5)
    one, other = ({(f.entity, f.reason) for f in accusing(p.findings)} for p in (slow, fast))
    assert one == other


def test_findings_open_before_they_close_and_close_once(once: list[list[Finding]]) -> None:
    open_now: set[str] = set()
    for finding in (finding for said in once for finding in said):
        if finding.state is FindingState.CLOSED:
            assert finding.id in open_now
            open_now.remove(finding.id)
        else:
            open_now.add(finding.id)


def test_times_are_in_order(once: list[list[Finding]]) -> None:
    for finding in (finding for said in once for finding in said):
        assert finding.onset_s <= finding.at_s
        assert finding.tick + 1 <= finding.at_s <= finding.tick + 2


def big_fleet(nodes: int) -> tuple[list[TopologyChange], Rows]:
    """Nodes with eight GPUs and an engine each."""
    topology: list[TopologyChange] = []
    rows: Rows = {}
    for number in range(nodes):
        node = entity_id("c", EntityKind.NODE, f"n{number}")
        engine = entity_id("c", EntityKind.ENGINE, f"e{number}")
        gpus = [entity_id("c", EntityKind.GPU, f"g{number}-{place}") for place in range(8)]
        topology += [TopologyChange(0.0, TopologyOp.ENTITY, e) for e in (node, engine, *gpus)]
        for gpu in gpus:
            topology.append(relation(gpu, node, RelationKind.PART_OF, at_s=0.0))
            topology.append(relation(engine, gpu, RelationKind.RUNS_ON, at_s=0.0))
            rows |= {(gpu, "gpu.power"): 200.0, (gpu, "gpu.sm_active"): 0.2}
        rows |= {(engine, "engine.requests_running"): 10.0, (node, "node.cpu_busy"): 0.1}
    return topology, rows


def test_one_bad_gpu_among_ten_thousand_entities_is_found() -> None:
    topology, rows = big_fleet(1000)
    play = Play(topology=topology)
    for _ in range(3):
        assert accusing(play.feed(rows)) == []
    bad = entity_id("c", EntityKind.GPU, "g617-3")
    for _ in range(3):
        play.feed(rows | {(bad, "gpu.clock_event_reasons"): 64.0})
    assert {finding.entity for finding in accusing(play.findings)} == {bad}


def test_the_order_of_batches_within_a_tick_changes_nothing() -> None:
    """Each value of a tick in a batch of its own, forwards and backwards: what is found, with its
    figures, is the same, though rows and columns lie in another order."""

    def played(*, backwards: bool) -> list[list[Finding]]:
        play, said = fresh(), []
        for second in STORY:
            rows = list(second.rows.items())
            ordered = dict(rows[::-1] if backwards else rows)
            said.append(play.feed(ordered, events=second.events))
        return said

    assert played(backwards=True) == played(backwards=False)


def test_entities_that_no_topology_knows_are_told_of_and_break_nothing() -> None:
    play = Play(stage(**QUICK), topology=())
    told(play, STORY)
    assert any("xid.31" in names(finding) for finding in play.findings)
