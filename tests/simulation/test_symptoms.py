"""Each fault shows what was measured of it, on the right entity, and not what was seen not to show.

The rows follow the tables of measured faults (one H200, two H200 with tensor parallelism, vLLM).
Times and sizes differ where the simulated engine differs; directions and the things that stay still
do not.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest

from fleetmend.model.entities import EntityId, EntityKind, RelationKind, key_of
from fleetmend.model.events import EventType, Witness
from fleetmend.views.topology import TopologyView
from simulator.catalogue import CATALOGUE
from simulator.fleet import Fleet
from tests.unit.simulator.fleets import Seen, small_fleet, watch

CALM_S, FAULT_S = 40, 60


class Who(StrEnum):
    """Whose signal."""

    GPU = "gpu"
    """The GPU that is hit, or one of the engine or node that is hit."""
    PEER = "peer"
    """Another GPU of the same engine."""
    ENGINE = "engine"
    NODE = "node"
    BYSTANDER = "bystander"
    """A GPU that has nothing to do with it."""


class Move(StrEnum):
    """What becomes of it."""

    UP = "up"
    DOWN = "down"
    SAME = "same"


@dataclass(frozen=True, slots=True)
class Row:
    """One symptom: by at least `share` of its calm level; SAME: by no more than that."""

    who: Who
    signal: str
    move: Move
    share: float


def up(who: Who, signal: str, share: float) -> Row:
    return Row(who, signal, Move.UP, share)


def down(who: Who, signal: str, share: float) -> Row:
    return Row(who, signal, Move.DOWN, share)


def same(who: Who, signal: str, share: float = 0.15) -> Row:
    return Row(who, signal, Move.SAME, share)


G, P, E, N, B = Who.GPU, Who.PEER, Who.ENGINE, Who.NODE, Who.BYSTANDER

SYMPTOMS: dict[str, tuple[Row, ...]] = {
    # Two GPUs, section "straggler": only its clock falls and its power rises; both slow down.
    "gpu_straggler": (
        down(G, "gpu.sm_clock", 0.05),
        up(G, "gpu.power", 0.3),
        up(G, "gpu.sm_active", 0.3),
        down(P, "gpu.power", 0.05),
        same(P, "gpu.sm_clock", 0.01),
        down(P, "gpu.nvlink_tx", 0.3),
        down(G, "gpu.nvlink_tx", 0.3),
        up(P, "gpu.utilization", 0.03),
        up(E, "engine.tpot_p50", 0.5),
        same(G, "gpu.memory_used", 0.001),
        same(N, "node.cpu_busy", 0.1),
    ),
    "noisy_neighbour": (
        up(G, "gpu.sm_active", 0.5),
        up(G, "gpu.tensor_active", 2.0),
        up(G, "gpu.power", 0.3),
        up(G, "gpu.temperature", 0.15),
        up(G, "gpu.memory_used", 0.005),
        up(E, "engine.tpot_p50", 0.2),
        same(E, "engine.prompt_length_mean", 0.3),
        same(N, "node.cpu_busy", 0.1),
    ),
    "thermal_throttling": (
        up(G, "gpu.temperature", 0.6),
        down(G, "gpu.sm_clock", 0.1),
        down(G, "gpu.power", 0.05),
        same(P, "gpu.temperature", 0.1),
        same(P, "gpu.sm_clock", 0.01),
        up(E, "engine.tpot_p50", 0.03),
    ),
    "nvlink_down": (
        up(E, "engine.tpot_p50", 0.2),
        down(G, "gpu.nvlink_tx", 0.1),
        down(P, "gpu.nvlink_tx", 0.1),
        same(G, "gpu.sm_clock", 0.01),
        same(N, "node.cpu_busy", 0.1),
    ),
    # Two GPUs, "rank 1 stopped": five witnesses against one.
    "rank_hang": (
        up(P, "gpu.utilization", 0.05),
        down(P, "gpu.power", 0.4),
        down(P, "gpu.sm_active", 0.3),
        down(P, "gpu.dram_active", 0.99),
        down(P, "gpu.nvlink_tx", 0.99),
        down(G, "gpu.utilization", 0.95),
        down(G, "gpu.power", 0.4),
        same(G, "gpu.sm_clock", 0.01),
        same(G, "gpu.memory_used", 0.001),
        same(P, "gpu.memory_used", 0.001),
    ),
    "engine_hang": (
        down(G, "gpu.sm_active", 0.95),
        down(G, "gpu.power", 0.4),
        down(G, "gpu.nvlink_tx", 0.99),
        same(G, "gpu.sm_clock", 0.01),
        same(G, "gpu.memory_used", 0.001),
    ),
    "gpu_memory_pressure": (
        up(G, "gpu.memory_used", 0.15),
        down(G, "gpu.memory_free", 0.9),
        same(G, "gpu.sm_clock", 0.01),
        same(G, "gpu.power", 0.15),
        same(P, "gpu.memory_used", 0.001),
        same(E, "engine.tpot_p50", 0.2),
    ),
    "pcie_saturation": (
        up(G, "gpu.pcie_rx", 50),
        up(G, "gpu.pcie_tx", 50),
        same(G, "gpu.sm_clock", 0.01),
        same(P, "gpu.pcie_rx", 0.3),
        same(P, "gpu.power", 0.15),
    ),
    # Two GPUs, "NVLink contention": 39 to 186 GB/s on both, steps a tenth longer, clocks up.
    "nvlink_contention": (
        up(G, "gpu.nvlink_tx", 2),
        up(P, "gpu.nvlink_tx", 2),
        up(E, "engine.tpot_p50", 0.04),
        same(G, "gpu.sm_clock", 0.01),
        same(G, "gpu.power", 0.15),
        same(N, "node.cpu_busy", 0.1),
    ),
    "power_brake": (
        down(G, "gpu.sm_clock", 0.4),
        down(G, "gpu.power", 0.2),
        same(P, "gpu.sm_clock", 0.01),
        same(G, "gpu.memory_used", 0.001),
        up(E, "engine.tpot_p50", 0.2),
    ),
    "engine_memory_leak": (
        up(E, "engine.memory_allocated", 0.03),
        up(G, "gpu.memory_used", 0.03),
        up(P, "gpu.memory_used", 0.03),
        same(G, "gpu.power", 0.2),
        same(G, "gpu.sm_clock", 0.01),
        same(E, "engine.tpot_p50", 0.2),
    ),
    # vLLM with a cache too small: usage near 1, few running, a queue, preemptions.
    "kv_cache_pressure": (
        up(E, "engine.kv_usage", 3),
        up(E, "engine.requests_waiting", 5),
        same(E, "engine.prompt_length_mean", 0.3),
        same(G, "gpu.sm_clock", 0.01),
    ),
    # One GPU, "batch limit set to 4": queue with an idle GPU, time per token unchanged.
    "batch_misconfiguration": (
        down(E, "engine.requests_running", 0.7),
        up(E, "engine.requests_waiting", 20),
        up(E, "engine.ttft_p50", 20),
        same(E, "engine.tpot_p50", 0.3),
        down(G, "gpu.sm_active", 0.2),
        down(G, "gpu.power", 0.1),
    ),
    # One GPU, "slow (unfused) attention": 97 % SM, 523 W, reason 4 near the cap.
    "operator_degradation": (
        up(G, "gpu.sm_active", 0.8),
        up(G, "gpu.power", 0.4),
        up(E, "engine.tpot_p50", 0.8),
        up(E, "engine.requests_running", 0.3),
        same(G, "gpu.memory_used", 0.001),
        same(N, "node.cpu_busy", 0.1),
    ),
    # One GPU, "host CPU starvation": the GPU idles although requests wait; the node looks idle.
    "host_cpu_starvation": (
        down(G, "gpu.utilization", 0.4),
        down(G, "gpu.sm_active", 0.2),
        down(G, "gpu.power", 0.1),
        up(E, "engine.tpot_p50", 1),
        up(N, "node.cpu_busy", 0.5),
        up(N, "node.load1", 0.1),
        same(G, "gpu.sm_clock", 0.01),
    ),
    "long_prompt_flood": (
        up(E, "engine.prompt_length_mean", 1),
        up(E, "engine.tpot_p50", 0.3),
        up(E, "engine.requests_running", 0.3),
        up(E, "engine.kv_usage", 1),
        up(G, "gpu.tensor_active", 0.5),
        up(G, "gpu.power", 0.15),
    ),
    "request_surge": (
        up(E, "engine.requests_running", 0.5),
        up(E, "engine.requests_waiting", 5),
        up(E, "engine.ttft_p50", 5),
        up(G, "gpu.power", 0.1),
        same(E, "engine.prompt_length_mean", 0.1),
    ),
}
"""What becomes of signals that go on."""

BY_EVENTS = {"engine_crash", "gpu_page_fault", "rank_crash"}
"""Recorded causes whose signals end or stand still: each has a test of its own below."""
RECORDINGS = Path(__file__).parents[1] / "data" / "recordings"


def test_every_recorded_cause_has_its_directions() -> None:
    recorded = {
        str(json.loads(line)["cause"])
        for file in RECORDINGS.glob("*/labels.jsonl")
        for line in file.read_text().splitlines()
        if not json.loads(line)["benign"]
    }

    assert recorded
    assert recorded - SYMPTOMS.keys() - BY_EVENTS == set()


BYSTANDERS_STAY = tuple(
    same(B, signal, share)
    for signal, share in (
        ("gpu.power", 0.2),
        ("gpu.sm_clock", 0.01),
        ("gpu.memory_used", 0.001),
        ("gpu.temperature", 0.15),
    )
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A fault on a fleet, with the entities around its target."""

    fleet: Fleet
    target: EntityId
    where: dict[Who, EntityId]
    before: Seen
    during: Seen

    def target_node(self) -> str:
        """The name of the node around the target."""
        return key_of(self.where[N])


def play(name: str, *, seconds: int = FAULT_S) -> Scene:
    """Calm, then the fault. Engines of the pool in the middle are hit: they have four ranks."""
    fleet = small_fleet(seed=7)
    view = TopologyView()
    for change in fleet.topology():
        view.apply(change)
    pool = fleet.layout.pool_ids[1]
    engines = [
        entity
        for entity in view.sources(pool, RelationKind.MEMBER_OF)
        if entity.startswith("sim/engine")
    ]
    engine, other = engines[0], engines[-1]
    gpus = view.targets(engine, RelationKind.RUNS_ON)
    node = view.ancestor(gpus[0], EntityKind.NODE)
    rack = view.ancestor(gpus[0], EntityKind.RACK)
    assert node is not None
    assert rack is not None
    targets = {
        EntityKind.GPU: gpus[0],
        EntityKind.ENGINE: engine,
        EntityKind.NODE: node,
        EntityKind.RACK: rack,
        EntityKind.POOL: pool,
    }
    target = targets[CATALOGUE[name].target]
    bystander = view.targets(other, RelationKind.RUNS_ON)[0]
    before = watch(fleet, CALM_S)
    fleet.faults.inject(name, target)
    during = watch(fleet, seconds)
    where = {G: gpus[0], P: gpus[1], E: engine, N: node, B: bystander}
    return Scene(fleet, target, where, before, during)


def check(scene: Scene, row: Row) -> None:
    calm = scene.before.mean(scene.where[row.who], row.signal)
    now = scene.during.mean(scene.where[row.who], row.signal)
    # Signals whose calm level is nearly nothing are judged by what they rise to.
    scale = max(abs(calm), 0.5 if row.signal.startswith("engine.requests") else 1e-9)
    change = (now - calm) / scale
    said = f"{row.signal} of the {row.who}: {calm:.4g} -> {now:.4g}, {change:+.0%}"
    match row.move:
        case Move.UP:
            assert change >= row.share, said
        case Move.DOWN:
            assert change <= -row.share, said
        case Move.SAME:
            assert abs(change) <= row.share, said


@pytest.mark.parametrize("name", SYMPTOMS)
def test_a_fault_shows_what_was_measured_of_it(name: str) -> None:
    scene = play(name)
    for row in SYMPTOMS[name]:
        check(scene, row)
    if CATALOGUE[name].target is not EntityKind.POOL:
        for row in BYSTANDERS_STAY:
            check(scene, row)


def test_a_gpu_off_the_bus_falls_silent_and_the_kernel_says_why() -> None:
    scene = play("gpu_fallen_off_bus")

    assert scene.during.xids(scene.target) == [79, 154]
    event = next(e for e in scene.during.events if e.type is EventType.XID)
    assert event.data["witness"] == Witness.KERNEL_LOG.value
    assert event.node == scene.target_node()
    assert not scene.during.heard(scene.target)
    assert scene.during.heard(scene.where[P])
    assert scene.during.heard(scene.where[N])
    assert "engine_dead" in scene.during.logs()
    # The engine cannot start without it: its page stays refused.
    assert scene.during.values(scene.where[E], "engine.scrape_up")[-40:].max() == 0


def test_a_contained_memory_error_kills_the_engine_once_and_leaves_a_pending_remap() -> None:
    scene = play("gpu_ecc_contained")

    assert scene.during.xids(scene.target) == [48, 63, 94]
    assert scene.during.values(scene.target, "gpu.ecc_dbe")[-1] == 1
    assert scene.during.values(scene.target, "gpu.row_remap_pending")[-1] == 1
    up_again = scene.during.values(scene.where[E], "engine.scrape_up")
    assert up_again.min() == 0
    assert up_again[-1] == 1


def test_a_failing_link_counts_retries_and_ends_in_an_xid() -> None:
    scene = play("nvlink_down")

    assert scene.during.xids(scene.target) == [74]
    assert scene.during.rate(scene.target, "gpu.nvlink_replays") > 10
    assert scene.during.rate(scene.where[P], "gpu.nvlink_replays") == 0
    assert scene.before.rate(scene.target, "gpu.nvlink_replays") == 0


def test_a_page_fault_of_a_stranger_leaves_the_engine_untouched() -> None:
    scene = play("gpu_page_fault", seconds=15)

    assert scene.during.xids(scene.target) == [31, 43]
    assert scene.during.rate(scene.where[E], "engine.generation_tokens") > 0
    assert scene.during.mean(scene.target, "gpu.processes_foreign") == 1
    check(scene, same(E, "engine.tpot_p50", 0.2))


def test_a_stranger_shows_as_a_process_without_a_pod_and_only_there() -> None:
    scene = play("noisy_neighbour")

    assert scene.before.mean(scene.target, "gpu.processes_foreign") == 0
    assert scene.during.mean(scene.target, "gpu.processes_foreign") == 1
    assert scene.during.mean(scene.where[P], "gpu.processes_foreign") == 0
    assert (scene.during.values(scene.target, "gpu.clock_event_reasons")[-20:] == 4).mean() > 0.9


def test_heat_is_named_as_the_reason_and_the_power_cap_is_not() -> None:
    scene = play("thermal_throttling")
    reasons = scene.during.values(scene.target, "gpu.clock_event_reasons")[-10:].astype(int)

    assert (reasons & 64).all()
    assert not (reasons & 4).any()
    assert scene.during.rate(scene.target, "gpu.throttle_thermal") > 0.5


def test_a_hung_engine_keeps_its_page_its_health_and_its_frozen_figures() -> None:
    """As measured on vLLM: health 200, metrics 200, running and tokens frozen, the log silent."""
    scene = play("engine_hang")
    engine = scene.where[E]

    for signal in ("engine.requests_running", "engine.generation_tokens", "engine.kv_usage"):
        assert np.ptp(scene.during.values(engine, signal)[2:]) == 0, signal
    assert scene.during.mean(engine, "engine.requests_running") > 0
    assert scene.during.mean(engine, "engine.probe_status") == 200
    assert scene.during.mean(engine, "engine.scrape_up") == 1
    assert not scene.during.logs()
    assert len(scene.during.values(engine, "engine.ttft_p50")) <= 1
    probes = [e for e in scene.during.events if e.type is EventType.PROBE and e.subject == engine]
    assert [e.data["ok"] for e in probes[1:]] == [False] * (len(probes) - 1)


def test_a_dead_engine_shows_stale_figures_for_a_moment_then_refuses() -> None:
    scene = play("engine_crash", seconds=12)
    engine = scene.where[E]

    assert scene.during.values(engine, "engine.probe_status")[0] == 503
    assert scene.during.values(engine, "engine.scrape_up").tolist()[:6] == [1, 1, 1, 0, 0, 0]
    assert np.ptp(scene.during.values(engine, "engine.requests_running")) == 0
    assert scene.during.logs() == {"worker_died", "engine_dead"}
    # Memory is freed and the clocks fall: the engine is gone, it does not hang.
    assert scene.during.values(scene.where[G], "gpu.memory_used")[1:9].max() < 1e9
    assert scene.during.values(scene.where[G], "gpu.sm_clock")[1:9].max() == 345


def test_a_dead_rank_frees_its_memory_while_its_peers_spin_until_the_watchdog() -> None:
    scene = play("rank_crash", seconds=18)

    assert scene.during.mean(scene.target, "gpu.sm_clock") == 345
    assert scene.during.mean(scene.target, "gpu.memory_used") < 1e9
    assert scene.during.mean(scene.where[P], "gpu.utilization") == 1
    assert scene.during.mean(scene.where[P], "gpu.power") < 160
    assert "nccl_timeout" not in scene.during.logs()
    assert "nccl_timeout" in watch(scene.fleet, 8).logs()


def test_an_oom_kill_is_in_the_kernel_log_and_on_the_nodes_counter() -> None:
    scene = play("engine_oom_killed", seconds=20)

    assert "oom_kill" in scene.during.logs()
    assert scene.during.values(scene.where[N], "node.oom_kills")[-1] == 1


def test_a_leak_ends_in_an_allocation_that_fails() -> None:
    scene = play("engine_memory_leak", seconds=200)

    assert "cuda_oom" in scene.during.logs()
    assert scene.during.values(scene.where[E], "engine.scrape_up").min() == 0


def test_a_node_that_goes_down_takes_everything_and_the_control_plane_notices_later() -> None:
    scene = play("node_not_ready")

    assert not scene.during.heard(scene.where[N])
    assert not scene.during.heard(scene.where[G])
    assert scene.during.mean(scene.where[E], "engine.probe_status") == 0
    conditions = [e for e in scene.during.events if e.type is EventType.NODE_CONDITION]
    assert [(e.subject, e.data["status"]) for e in conditions] == [(scene.where[N], "Unknown")]
    assert conditions[0].time_s - scene.fleet.truth()[0].fault.started_at_s >= 40
    node = scene.fleet.cluster.node(scene.target_node())
    assert node is not None
    assert not node.ready


def test_a_dead_collector_silences_a_node_whose_engines_work_on() -> None:
    scene = play("collector_death")

    assert not scene.during.heard(scene.where[N])
    assert not scene.during.heard(scene.where[G])
    assert scene.during.rate(scene.where[E], "engine.generation_tokens") > 0
    assert scene.during.mean(scene.where[E], "engine.probe_status") == 200
    assert not [e for e in scene.during.events if e.type is EventType.NODE_CONDITION]


@pytest.mark.parametrize("name", ["rack_power_loss", "rack_switch_failure"])
def test_a_rack_fails_as_one(name: str) -> None:
    scene = play(name)
    fleet = scene.fleet
    rack = fleet.layout.rack_ids.index(scene.target)
    for index, node in enumerate(fleet.layout.node_ids):
        silent = fleet.layout.node_rack[index] == rack
        assert bool(scene.during.heard(node)) is not silent
    conditions = [e.subject for e in scene.during.events if e.type is EventType.NODE_CONDITION]
    assert len(conditions) == 8


def test_a_bad_rollout_is_announced_and_slows_what_it_has_reached() -> None:
    scene = play("bad_rollout", seconds=400)
    changes = [e for e in scene.during.events if e.type is EventType.CHANGE]

    assert [(e.data["change"], e.data["what"]) for e in changes] == [
        ("rollout", "llama-70b:v1 -> llama-70b:v2")
    ]
    # Its pod was replaced: the engine that came is another one.
    view = TopologyView()
    for change in scene.fleet.topology():
        view.apply(change)
    pool = scene.fleet.layout.pool_ids[1]
    members = view.sources(pool, RelationKind.MEMBER_OF)
    assert scene.where[E] not in members
    after = watch(scene.fleet, 10)
    calm_s = scene.before.mean(scene.where[E], "engine.tpot_p50")
    slow_s = [
        after.mean(e, "engine.tpot_p50") for e in members if "engine.tpot_p50" in after.heard(e)
    ]
    assert max(slow_s) > 1.5 * calm_s


def test_the_truth_names_whom_a_right_diagnosis_may_blame() -> None:
    link, engine = play("nvlink_contention", seconds=5), play("engine_hang", seconds=5)
    rack = play("rack_switch_failure", seconds=5)

    assert {link.where[G], link.where[P], link.where[E]} <= set(link.fleet.truth()[0].affected)
    assert engine.where[E] in engine.fleet.truth()[0].affected
    assert {rack.target, rack.where[N]} <= set(rack.fleet.truth()[0].affected)
    assert rack.fleet.truth()[0].cause == "rack_outage"
    for scene in (link, engine):
        assert scene.where[B] not in scene.fleet.truth()[0].affected


def test_half_of_the_scheduled_faults_warn_first() -> None:
    """PCIe retries come before a card is lost; an injected fault comes at once."""
    spec = CATALOGUE["gpu_fallen_off_bus"]
    fleet = small_fleet()
    fleet.faults.begin(spec, 0, warned=True)
    gpu = fleet.layout.gpu_ids[0]
    warned = watch(fleet, 18)

    assert warned.values(gpu, "gpu.pcie_replays")[-1] > 10
    assert not warned.xids(gpu)
    assert 79 in watch(fleet, 60).xids(gpu)
