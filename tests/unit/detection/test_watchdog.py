"""Engines and ranks without progress: hung, crashed, stalled; and what only looks like it."""

from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from tests.unit.detection.play import (
    ENGINE,
    GPU,
    NODE,
    PEER,
    Life,
    Play,
    Rows,
    calm,
    fleet,
    line,
    names,
    opened,
)

IDLE = {"gpu_sm_active": 0.0, "gpu_utilization": 0.0, "gpu_dram_active": 0.0, "gpu_power": 120.0}


def silent(rows: Rows, *entities: EntityId) -> Rows:
    return {key: value for key, value in rows.items() if key[0] not in entities}


def watchdog(play: Play) -> list[Finding]:
    return [f for f in opened(play.findings) if f.detector == "watchdog"]


def test_a_silent_engine_with_its_memory_held_and_its_gpu_idle_hangs() -> None:
    life, play = calm(40)
    for _ in range(6):
        play.feed(silent(life.rows(**IDLE), ENGINE))
    finding = watchdog(play)[0]

    assert (finding.entity, finding.reason) == (ENGINE, "hung")
    assert {"no_progress", "telemetry_absent", "gpu.sm_active"} <= names(finding)
    assert finding.witness is Witness.SILENCE
    assert finding.tick - 40 <= 3
    assert finding.onset_s == 40.0


def test_a_silent_engine_whose_memory_was_given_back_has_crashed() -> None:
    life, play = calm(40)
    gone = {**IDLE, "gpu_memory_used": 6e8, "gpu_memory_free": 149e9, "gpu_sm_clock": 345.0}
    for _ in range(6):
        play.feed(silent(life.rows(**gone), ENGINE))
    assert {(f.entity, f.reason) for f in watchdog(play)} == {(ENGINE, "crashed")}
    assert "memory_released" in names(watchdog(play)[-1])


def test_an_engine_that_cannot_be_scraped_while_its_gpu_works_has_not_hung() -> None:
    life, play = calm(40)
    for _ in range(20):
        play.feed(silent(life.rows(), ENGINE))
    assert watchdog(play) == []


def test_an_engine_without_work_that_falls_silent_has_not_hung() -> None:
    life, play = calm(40, engine_requests_running=0.0, engine_requests_waiting=0.0)
    for _ in range(20):
        play.feed(silent(life.rows(**IDLE), ENGINE))
    assert watchdog(play) == []


def stuck(life: Life, play: Play, seconds: int, **changed: float) -> None:
    for _ in range(seconds):
        play.run(life, 1, token_rate=0.0, prompt_rate=0.0, engine_requests_running=8.0, **changed)


def test_work_in_hand_and_no_tokens_on_an_idle_gpu_is_a_stall() -> None:
    life, play = calm(40)
    stuck(life, play, 5, **IDLE)
    (finding,) = watchdog(play)
    assert (finding.entity, finding.reason) == (ENGINE, "stalled")
    assert {"no_progress", "engine.generation_tokens"} <= names(finding)


def test_no_tokens_for_a_while_with_a_busy_gpu_is_a_long_prefill() -> None:
    life, play = calm(40)
    stuck(life, play, 15, gpu_sm_active=0.9, gpu_utilization=1.0)
    assert watchdog(play) == []


def test_a_full_queue_is_no_hang_as_long_as_tokens_come() -> None:
    life, play = calm(40)
    play.run(life, 30, engine_requests_waiting=200.0, engine_requests_running=64.0)
    assert watchdog(play) == []


def test_without_a_second_witness_one_must_stand_for_longer_and_is_believed_less() -> None:
    life, play = calm(40, gpus=())
    stuck(life, play, 7)
    assert watchdog(play) == []
    stuck(life, play, 2)
    (finding,) = watchdog(play)
    assert finding.reason == "stalled"
    assert finding.confidence < 0.8
    stuck(life, play, 8)
    assert watchdog(play)[-1].confidence >= finding.confidence + 0.1


def test_frozen_gauges_with_a_refused_probe_are_a_crash() -> None:
    life, play = calm(40, gpus=(), engine_probe_status=200.0)
    stuck(life, play, 6, engine_probe_status=503.0)
    finding = watchdog(play)[-1]
    assert finding.reason == "crashed"
    assert "probe_failed" in names(finding)
    assert finding.witness is Witness.PROBE


NOTHING_TO_DO = {"token_rate": 0.0, "prompt_rate": 0.0, "done_rate": 0.0}


def test_an_idle_engine_that_answers_no_canary_hangs() -> None:
    """None of its figures shows it: nothing runs, nothing waits, the page is read."""
    life, play = calm(40, gpus=(), engine_canary_ok=1.0)
    for tick in range(12):
        asked = {"engine_canary_ok": 0.0} if tick % 4 == 0 else {}
        play.feed(life.rows(engine_requests_running=0.0, **NOTHING_TO_DO, **asked))
    finding = watchdog(play)[-1]
    assert (finding.entity, finding.reason) == (ENGINE, "stalled")
    assert names(finding) == {"no_progress", "probe_failed"}
    assert finding.witness is Witness.PROBE
    assert finding.onset_s == 40.0


def test_one_canary_without_an_answer_is_no_hang() -> None:
    life, play = calm(40, gpus=(), engine_canary_ok=1.0)
    for tick in range(20):
        asked = {"engine_canary_ok": float(tick != 4)} if tick % 4 == 0 else {}
        play.feed(life.rows(engine_requests_running=0.0, **NOTHING_TO_DO, **asked))
    assert watchdog(play) == []


def test_a_canary_without_an_answer_does_not_make_a_hang_a_crash() -> None:
    life, play = calm(40, gpus=(), engine_canary_ok=1.0)
    stuck(life, play, 12, engine_canary_ok=0.0)
    assert {finding.reason for finding in watchdog(play)} == {"stalled"}


def test_a_death_in_the_log_explains_the_silence_after_it() -> None:
    life, play = calm(40, gpus=())
    play.feed(silent(life.rows(), ENGINE), events=[line("worker_died", 40.5)])
    for _ in range(5):
        play.feed(silent(life.rows(), ENGINE))
    finding = watchdog(play)[-1]
    assert finding.reason == "crashed"
    assert "log.worker_died" in names(finding)


def test_an_oom_kill_on_the_node_explains_an_engine_that_falls_silent_and_no_other() -> None:
    life, play = calm(40)
    play.feed(life.rows(), events=[line("oom_kill", 40.5, subject=NODE)])
    play.run(life, 5)
    assert watchdog(play) == []
    for _ in range(5):
        play.feed(silent(life.rows(), ENGINE))
    assert {(f.entity, f.reason) for f in watchdog(play)} == {(ENGINE, "crashed")}


def ranks(**peer: float) -> Play:
    """Two ranks that work, then the first spins and the second is as told."""
    gpus = (GPU, PEER)
    busy = {
        "gpu_power": 580.0,
        "gpu_utilization": 0.9,
        "gpu_sm_active": 0.45,
        "gpu_dram_active": 0.3,
    }
    life, play = Life(gpus=gpus), Play(topology=fleet(gpus=gpus))
    play.run(life, 60, **busy)
    spins = {"power": 123.0, "utilization": 1.0, "sm_active": 0.18, "dram_active": 0.0}
    for _ in range(8):
        rows = silent(life.rows(**busy), ENGINE)
        for name, value in spins.items():
            rows[GPU, f"gpu.{name}"] = value
        for name, value in {
            "power": 121.0,
            "utilization": 0.0,
            "sm_active": 0.0,
            "dram_active": 0.0,
            **peer,
        }.items():
            rows[PEER, f"gpu.{name}"] = value
        play.feed(rows)
    return play


def test_the_idle_rank_is_blamed_and_not_the_one_that_waits_at_full_utilisation() -> None:
    said = {(f.entity, f.reason) for f in watchdog(ranks())}
    assert said == {(GPU, "waiting_for_peer"), (PEER, "rank_stopped")}


def test_a_rank_that_gave_its_memory_back_is_dead() -> None:
    play = ranks(memory_used=9e8, memory_free=149e9, sm_clock=345.0)
    said = {f.entity: f for f in watchdog(play)}
    assert said[PEER].reason == "rank_dead"
    assert "memory_released" in names(said[PEER])


def test_an_engine_whose_ranks_wait_is_not_accused_beside_them_even_when_they_end() -> None:
    play = ranks(memory_used=9e8, memory_free=149e9)
    life = Life(gpus=(GPU, PEER))
    gone = {**IDLE, "gpu_memory_used": 6e8}
    for _ in range(10):
        play.feed(silent(life.rows(**gone), ENGINE))
    assert ENGINE not in {f.entity for f in watchdog(play)}
