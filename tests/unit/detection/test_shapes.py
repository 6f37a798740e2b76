"""How faults show in derived signals, relations, leaks and shifts, and how opinions are weighed."""

import math
from collections.abc import Callable

import pytest

from detection.base import Opinion
from detection.derive import DERIVED, derive
from detection.fuse import LOW, Fuse
from detection.links import Links
from detection.windows import Windows
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.detection import DetectionSettings
from fleetmend.signals.catalogue import catalogue
from fleetmend.views.topology import TopologyView
from tests.unit.detection.play import (
    ENGINE,
    GPU,
    Play,
    accusing,
    calm,
    closed,
    fleet,
    names,
    opened,
)


def after_calm(**changed: float) -> Play:
    life, play = calm(50)
    play.run(life, 12, **changed)
    return play


def moves(findings: list[Finding]) -> set[tuple[str, Direction]]:
    return {(s.name, s.direction) for f in opened(findings) for s in f.symptoms}


@pytest.fixture
def steady() -> Callable[..., dict[str, float]]:
    """The derived signals after some seconds of an engine with these rates."""

    def derived(*, seconds: int = 12, queue: float = 0.0, done: float = 4.0) -> dict[str, float]:
        catalogued = {name: signal.shape for name, signal in catalogue().signals.items()}
        windows, links, topology = Windows(catalogued, ticks=16), Links(), TopologyView()
        for change in fleet():
            topology.apply(change)
        for tick in range(seconds):
            engine = {
                "requests_running": 20.0,
                "requests_waiting": queue * tick,
                "requests_done": done * tick,
                "generation_tokens": 500.0 * tick,
                "prompt_tokens": 1000.0 * tick,
            }
            rows = [(tick + 0.5, str(ENGINE), f"engine.{n}", v) for n, v in engine.items()]
            rows.append((tick + 0.5, str(GPU), "gpu.sm_active", 0.15))
            windows.advance(tick, [])
            windows.take([SampleBatch.from_rows(rows)], tick)
            windows.keep()
            links.update(topology, windows.blocks, 0)
            blocks = windows.block(EntityKind.ENGINE), windows.block(EntityKind.GPU)
            derive(*blocks, links, 1.0)
        return {
            d.name: float(windows.block(d.kind).now(d.name)[0])
            for d in DERIVED
            if d.name in windows.block(d.kind).column
        }

    return derived


def test_derived_signals_are_what_their_names_say(
    steady: Callable[..., dict[str, float]],
) -> None:
    found = steady()
    assert found["engine.arrival_rate"] == pytest.approx(4.0)
    assert found["engine.admission_rate"] == pytest.approx(4.0)
    assert found["engine.prompt_tokens_per_request"] == pytest.approx(250.0)
    assert found["engine.decode_rate"] == pytest.approx(25.0)
    assert found["gpu.work_per_token"] == pytest.approx(0.15 / 750.0)


def test_requests_that_queue_up_have_arrived_but_were_not_admitted(
    steady: Callable[..., dict[str, float]],
) -> None:
    found = steady(queue=10.0)
    assert found["engine.arrival_rate"] == pytest.approx(14.0)
    assert found["engine.admission_rate"] == pytest.approx(4.0)


def test_a_mean_of_hardly_any_requests_is_left_unknown(
    steady: Callable[..., dict[str, float]],
) -> None:
    assert math.isnan(steady(done=0.1)["engine.prompt_tokens_per_request"])


def test_long_prompts_raise_tokens_per_request_and_more_requests_do_not() -> None:
    longer = after_calm(prompt_rate=9000.0)
    more = after_calm(prompt_rate=9000.0, done_rate=40.0)
    up = ("engine.prompt_tokens_per_request", Direction.UP)
    assert up in moves(longer.findings)
    assert up not in moves(more.findings)
    assert ("engine.arrival_rate", Direction.UP) in moves(more.findings)


def test_more_traffic_alone_is_told_as_load_and_accuses_nobody() -> None:
    play = after_calm(
        done_rate=12.0,
        token_rate=1500.0,
        prompt_rate=2700.0,
        engine_requests_running=72.0,
        gpu_sm_active=0.45,
        gpu_utilization=0.6,
        gpu_power=330.0,
    )
    assert {f.reason for f in opened(play.findings)} == {"load_shift"}
    assert accusing(play.findings) == []


def test_work_without_load_points_at_a_neighbour_or_a_slow_kernel() -> None:
    play = after_calm(gpu_sm_active=0.9, gpu_utilization=1.0, gpu_power=600.0)
    (finding,) = [f for f in accusing(play.findings) if f.detector == "baseline"]
    assert finding.entity == GPU
    assert finding.reason == "level_shift"
    assert "gpu.work_per_token" in names(finding)


def test_a_slow_operator_shows_in_the_speed_of_each_request_before_any_has_ended() -> None:
    play = after_calm(token_rate=120.0, gpu_sm_active=0.95, gpu_utilization=1.0)
    assert {("engine.decode_rate", Direction.DOWN), ("gpu.work_per_token", Direction.UP)} <= moves(
        play.findings
    )


def test_a_queue_before_an_idle_gpu_is_told_with_what_tells_its_causes_apart() -> None:
    idle = {"gpu_sm_active": 0.04, "gpu_utilization": 0.08, "engine_requests_waiting": 20.0}
    limit = after_calm(engine_requests_running=4.0, token_rate=100.0, **idle)
    host = after_calm(engine_requests_running=40.0, token_rate=80.0, **idle)
    (few,) = opened(limit.findings, reason="queue_without_work")[:1]
    (slow,) = opened(host.findings, reason="queue_without_work")[:1]

    assert few.entity == slow.entity == ENGINE
    assert ("engine.requests_running", Direction.DOWN) in moves([few])
    assert ("engine.decode_rate", Direction.DOWN) not in moves([few])
    assert {
        ("engine.decode_rate", Direction.DOWN),
        ("engine.requests_running", Direction.UP),
    } <= moves([slow])


@pytest.mark.parametrize(
    "changed",
    [
        {"engine_requests_waiting": 50.0, "gpu_sm_active": 0.6},
        {"gpu_sm_active": 0.01, "gpu_utilization": 0.02, "engine_requests_running": 1.0},
    ],
)
def test_a_queue_alone_or_a_quiet_hour_alone_is_not_that(changed: dict[str, float]) -> None:
    assert not opened(after_calm(**changed).findings, reason="queue_without_work")


def growing(
    step: float, *, seconds: int = 20, noise: float = 0.0, **changed: float
) -> list[Finding]:
    life, play = calm(20)
    for at in range(seconds):
        wobble = noise if at % 2 else -noise
        play.run(life, 1, engine_memory_allocated=28e9 + at * step + wobble, **changed)
    return opened(play.findings, reason="monotone_growth")


def test_memory_that_grows_sample_by_sample_is_a_leak() -> None:
    (finding,) = growing(3e8)
    assert (finding.entity, names(finding)) == (ENGINE, {"engine.memory_allocated"})
    assert 19.0 <= finding.onset_s <= 23.0


@pytest.mark.parametrize(
    ("step", "noise"), [(1e6, 0.0), (0.0, 5e9), (1e7, 4e8)], ids=["slight", "swings", "noise"]
)
def test_memory_that_creeps_or_swings_is_not_one(step: float, noise: float) -> None:
    assert growing(step, noise=noise) == []


def test_memory_that_jumps_once_is_not_one() -> None:
    life, play = calm(20)
    play.run(life, 30, engine_memory_allocated=60e9)
    assert not opened(play.findings, reason="monotone_growth")


def test_a_leak_that_ends_closes() -> None:
    life, play = calm(20)
    for at in range(20):
        play.run(life, 1, engine_memory_allocated=28e9 + at * 1e9)
    play.run(life, 20)
    assert "monotone_growth" in {f.reason for f in closed(play.findings)}


def test_two_faults_in_a_row_on_one_entity_are_two_findings() -> None:
    life, play = calm(50)
    play.run(life, 25, engine_ttft_p50=1.5)
    play.run(life, 12, engine_ttft_p50=1.5, engine_tpot_p50=0.3)
    found = {f.id: f for f in opened(play.findings) if f.detector == "baseline"}
    assert len(found) == 2


def opinion(detector: str, confidence: float, **changed: object) -> Opinion:
    values: dict[str, object] = {
        "detector": detector,
        "entity": GPU,
        "key": detector,
        "reason": "r",
        "witness": Witness.TELEMETRY,
        "confidence": confidence,
        "symptoms": (),
        "onset_s": 10.0,
    }
    return Opinion(**{**values, **changed})  # type: ignore[arg-type]


def weigh(*opinions: Opinion) -> list[Opinion]:
    return Fuse(DetectionSettings()).weigh(opinions)


def test_a_learned_detector_alone_stays_low_however_sure_it_is() -> None:
    (alone,) = weigh(opinion("forest", 0.95, witness=Witness.MODEL))
    assert alone.confidence == LOW
    beside, _ = weigh(opinion("forest", 0.3, witness=Witness.MODEL), opinion("rules", 0.8))
    assert beside.confidence > LOW


def test_detectors_that_agree_are_surer_together_and_each_keeps_its_witness() -> None:
    silence = opinion("coverage", 0.8, witness=Witness.SILENCE)
    one, other = weigh(silence, opinion("watchdog", 0.7))
    assert one.confidence > 0.8
    assert other.confidence > 0.7
    assert (one.witness, other.witness) == (Witness.SILENCE, Witness.TELEMETRY)


def test_many_opinions_of_one_detector_are_one_voice() -> None:
    once = weigh(opinion("coverage", 0.8), opinion("rules", 0.7))[0]
    often = weigh(opinion("coverage", 0.8), *[opinion("rules", 0.7, key=str(n)) for n in range(5)])[
        0
    ]
    assert once.confidence == often.confidence


def test_what_began_at_another_time_or_is_only_load_lends_no_weight() -> None:
    alone = opinion("rules", 0.8)
    earlier = opinion("baseline", 0.9, onset_s=-100.0)
    load = opinion("baseline", 0.3, load=True)
    assert weigh(alone, earlier)[0].confidence == weigh(alone, load)[0].confidence == 0.8
    assert weigh(load, alone)[0].confidence == 0.3
