"""One made-up set of findings for each fault class, after the tables of measured faults."""

from collections.abc import Callable
from dataclasses import dataclass, field

from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from rca.scene import Change
from tests.unit.rca.made_up import (
    MODEL,
    START_S,
    engine,
    finding,
    gpu,
    node,
    pair,
    rack,
    racked,
    single,
)

KERNEL = Witness.KERNEL_LOG
SILENCE = Witness.SILENCE


def xid(number: int, *, reason: str = "sticky_xid", at: EntityId | None = None) -> Finding:
    where = gpu(0) if at is None else at
    sure = 0.95 if reason == "sticky_xid" else 0.7
    return finding(where, f"xid.{number}", reason=reason, confidence=sure, witness=KERNEL)


def silent(at: EntityId) -> Finding:
    return finding(
        at,
        "telemetry_absent",
        reason="absent",
        detector="coverage",
        witness=SILENCE,
    )


def foreign(at: EntityId) -> Finding:
    return finding(at, "foreign_process", "gpu.memory_foreign up", reason="foreign_process")


def four(nodes: int = 8) -> list[TopologyChange]:
    return racked(nodes)


@dataclass(frozen=True)
class Fault:
    """What a fault shows, where, and whom to blame."""

    findings: list[Finding]
    blamed: EntityId
    fleet: Callable[[], list[TopologyChange]] = single
    recent: list[Change] = field(default_factory=list)


FAULTS: dict[str, Fault] = {
    "noisy_neighbour": Fault(
        [
            foreign(gpu(0)),
            finding(
                gpu(0),
                "gpu.sm_active up",
                "gpu.tensor_active up",
                "gpu.power up",
                "gpu.temperature up",
                "gpu.sm_clock down",
                "gpu.work_per_token up",
            ),
            finding(engine(0), "engine.decode_rate down", confidence=0.6),
        ],
        gpu(0),
    ),
    "pcie_saturation": Fault(
        [
            foreign(gpu(0)),
            finding(gpu(0), "gpu.pcie_rx up", "gpu.pcie_tx up", reason="link_saturated"),
            finding(gpu(0), "gpu.utilization up"),
            finding(engine(0), "engine.decode_rate down", confidence=0.6),
        ],
        gpu(0),
    ),
    "gpu_memory_pressure": Fault(
        [
            foreign(gpu(0)),
            finding(gpu(0), "gpu.memory_free down", "gpu.memory_used up", reason="memory_full"),
        ],
        gpu(0),
    ),
    "gpu_page_fault": Fault([xid(31, reason="application_xid")], gpu(0)),
    "silent_corruption": Fault(
        [
            finding(
                engine(0),
                "log.golden_mismatch",
                reason="log_signature",
                confidence=0.9,
                witness=Witness.PROBE,
            ),
        ],
        engine(0),
    ),
    "engine_memory_leak": Fault(
        [
            finding(engine(0), "engine.memory_allocated up", reason="monotone_growth"),
            finding(gpu(0), "gpu.memory_used up", reason="monotone_growth", key="gpu"),
        ],
        engine(0),
    ),
    "operator_degradation": Fault(
        [
            finding(
                engine(0),
                "engine.decode_rate down",
                "engine.requests_waiting up",
                "engine.ttft_p50 up",
                "engine.requests_running up",
            ),
            finding(
                gpu(0),
                "gpu.sm_active up",
                "gpu.work_per_token up",
                "gpu.dram_active up",
                "gpu.power up",
                "gpu.memory_used up",
            ),
        ],
        engine(0),
    ),
    "long_prompt_flood": Fault(
        [
            finding(
                engine(0),
                "engine.prompt_tokens_per_request up",
                "engine.prompt_tokens up",
                "engine.requests_waiting up",
                "engine.requests_running up",
                "engine.ttft_p95 up",
                "engine.decode_rate down",
            ),
            finding(
                gpu(0), "gpu.sm_active up", "gpu.power up", reason="load_shift", confidence=0.3
            ),
        ],
        engine(0),
    ),
    "request_surge": Fault(
        [
            finding(
                engine(0),
                "engine.arrival_rate up",
                "engine.requests_waiting up",
                "engine.requests_running up",
                "engine.ttft_p50 up",
                "engine.generation_tokens up",
            ),
        ],
        engine(0),
    ),
    "batch_misconfiguration": Fault(
        [
            finding(
                engine(0),
                "queue_without_work",
                "engine.requests_waiting up",
                "engine.requests_running down",
                reason="queue_without_work",
            ),
            finding(engine(0), "engine.ttft_p50 up", "engine.generation_tokens down"),
        ],
        engine(0),
    ),
    "host_cpu_starvation": Fault(
        [
            finding(
                engine(0),
                "queue_without_work",
                "engine.requests_waiting up",
                "engine.decode_rate down",
                reason="queue_without_work",
            ),
            finding(
                node(0), "node.cpu_busy up", "node.load1 up", reason="load_shift", confidence=0.3
            ),
            finding(gpu(0), "gpu.sm_active down", "gpu.power down"),
        ],
        node(0),
    ),
    "engine_hang": Fault(
        [
            finding(
                engine(0),
                "no_progress",
                "telemetry_absent",
                "gpu.sm_active down",
                reason="hung",
                confidence=0.9,
                witness=SILENCE,
            ),
            finding(gpu(0), "gpu.sm_active down", "gpu.power down"),
        ],
        engine(0),
    ),
    "engine_crash": Fault(
        [
            finding(
                engine(0),
                "no_progress",
                "telemetry_absent",
                "memory_released",
                reason="crashed",
                confidence=0.9,
                witness=SILENCE,
            ),
            finding(gpu(0), "gpu.memory_used down", "gpu.sm_clock down", "gpu.power down"),
        ],
        engine(0),
    ),
    "engine_oom_killed": Fault(
        [
            finding(
                node(0), "log.oom_kill", reason="log_signature", confidence=0.9, witness=KERNEL
            ),
            finding(engine(0), "no_progress", "probe_failed", reason="crashed", confidence=0.9),
        ],
        engine(0),
    ),
    "kv_cache_pressure": Fault(
        [
            finding(engine(0), "engine.kv_usage up", "engine.preemptions up", reason="kv_pressure"),
            finding(engine(0), "engine.requests_waiting up", "engine.ttft_p95 up"),
        ],
        engine(0),
    ),
    "gpu_straggler": Fault(
        [
            foreign(gpu(1)),
            finding(
                gpu(1),
                "gpu.sm_clock down",
                "gpu.power up",
                "gpu.sm_active up",
                "gpu.step_time up",
                "gpu.nvlink_tx down",
            ),
            finding(
                gpu(0),
                "gpu.power down",
                "gpu.sm_active down",
                "gpu.step_time up",
                "gpu.step_collective_time up",
                "gpu.nvlink_tx down",
            ),
        ],
        gpu(1),
        pair,
    ),
    "nvlink_contention": Fault(
        [
            *(foreign(gpu(i)) for i in range(2)),
            *(
                finding(
                    gpu(i),
                    "gpu.nvlink_tx up",
                    "gpu.nvlink_rx up",
                    "gpu.step_collective_time up",
                    "gpu.memory_used up",
                )
                for i in range(2)
            ),
        ],
        gpu(0),
        pair,
    ),
    "rank_hang": Fault(
        [
            finding(gpu(1), "no_progress", "gpu.utilization down", reason="rank_stopped"),
            finding(gpu(0), "busy_without_work", "gpu.power down", reason="waiting_for_peer"),
        ],
        gpu(1),
        pair,
    ),
    "rank_crash": Fault(
        [
            finding(
                gpu(1),
                "no_progress",
                "memory_released",
                "gpu.sm_clock down",
                reason="rank_dead",
            ),
            finding(gpu(0), "busy_without_work", "gpu.power down", reason="waiting_for_peer"),
        ],
        gpu(1),
        pair,
    ),
    "gpu_fallen_off_bus": Fault([xid(79), silent(gpu(0))], gpu(0)),
    "gpu_ecc_contained": Fault(
        [xid(94, reason="hardware_xid"), xid(63, reason="hardware_xid")], gpu(0)
    ),
    "gpu_ecc_uncontained": Fault([xid(48), xid(95), xid(45, reason="sympathetic_xid")], gpu(0)),
    "row_remap_failure": Fault([xid(64)], gpu(0)),
    "nvlink_down": Fault(
        [xid(74), finding(gpu(0), "gpu.nvlink_replays up", reason="counter_rose")], gpu(0), pair
    ),
    "gsp_timeout": Fault([xid(119)], gpu(0)),
    "gpu_reset_needed": Fault([xid(62)], gpu(0)),
    "thermal_throttling": Fault(
        [
            finding(gpu(0), "throttle.hw_thermal", reason="throttled"),
            finding(gpu(0), "gpu.temperature up", reason="hot", confidence=0.6),
            finding(gpu(0), "gpu.sm_clock down"),
        ],
        gpu(0),
    ),
    "power_brake": Fault(
        [
            finding(gpu(0), "throttle.hw_power_brake", reason="throttled"),
            finding(gpu(0), "gpu.sm_clock down", "gpu.power down"),
        ],
        gpu(0),
    ),
    "pcie_degradation": Fault(
        [
            finding(gpu(0), "gpu.pcie_link_width down", reason="link_degraded", confidence=0.6),
            finding(gpu(0), "gpu.pcie_replays up", reason="counter_rose"),
        ],
        gpu(0),
    ),
    "node_not_ready": Fault(
        [
            finding(
                node(0),
                "node_condition.Ready",
                reason="node_condition",
                witness=Witness.CLUSTER_API,
            ),
            silent(node(0)),
            silent(gpu(0)),
        ],
        node(0),
    ),
    "rack_outage": Fault(
        [
            finding(
                node(i),
                "node_condition.Ready",
                reason="node_condition",
                witness=Witness.CLUSTER_API,
            )
            for i in range(8)
        ],
        rack(0),
        four,
    ),
    "telemetry_loss": Fault([silent(gpu(0)), silent(gpu(1)), silent(node(0))], node(0), pair),
    "bad_rollout": Fault(
        [finding(engine(i), "engine.decode_rate down", "engine.ttft_p95 up") for i in range(6)],
        MODEL,
        four,
        [Change("rollout", MODEL, START_S - 60.0)],
    ),
}
