"""Every fault of the simulator. Signatures follow guides on measured faults: README.md says which
were measured and which are invented. Rates are those of training fleets, multiplied by `speed_up`.
"""

from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from simulator.faults import (
    Bump,
    Condition,
    Crash,
    FaultSpec,
    LogLine,
    Mend,
    Press,
    Rollout,
    Xid,
)

GPU, ENGINE, NODE = EntityKind.GPU, EntityKind.ENGINE, EntityKind.NODE
RACK, POOL = EntityKind.RACK, EntityKind.POOL
GIB = 2.0**30
HW_SLOWDOWN, HW_POWER_BRAKE = 8, 128
"""Bits of the clock-event reasons."""
LLAMA3 = "Llama 3 (arXiv 2407.21783) Table 5, 16,384 H100"
SPLIT = f"{LLAMA3}; split among faults invented"
DELTA = "Delta (arXiv 2503.11901), A100"

ENGINE_DEAD = LogLine(
    "engine_dead",
    "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
    ENGINE,
    Witness.APPLICATION_LOG,
    lag_s=1.0,
)
WORKER_DIED = LogLine(
    "worker_died",
    "Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor.",
    ENGINE,
    Witness.APPLICATION_LOG,
)

GPU_FAULTS = (
    FaultSpec(
        "gpu_fallen_off_bus",
        "A GPU falls off the bus",
        GPU,
        presses=(Press("gpu_lost", 1),),
        moments=(
            Xid(79, "GPU has fallen off the bus."),
            Xid(
                154,
                "GPU recovery action changed from 0x0 (None) to 0x2 (Node Reboot Required)",
                recovery=2,
            ),
            Crash(lag_s=2.0),
            LogLine(ENGINE_DEAD.signature, ENGINE_DEAD.line, ENGINE, ENGINE_DEAD.witness, 3.0),
        ),
        mends=frozenset({Mend.REPAIR}),
        lead=(Press("pcie_replays", 3.0, ramp_s=10),),
        per_gpu_hour=1.04e-6,
        source=DELTA,
    ),
    FaultSpec(
        "gpu_ecc_contained",
        "An uncorrectable memory error that the GPU contains",
        GPU,
        moments=(
            Xid(48, "An uncorrectable double bit error (DBE) has been detected on GPU"),
            Xid(63, "Row Remapper: New row (0x0000000e9b9107e0) marked for remapping, reset gpu"),
            Xid(94, "Contained: CE User Channel (0x9). RST: No, D-RST: No", process="VllmWorker"),
            Bump("ecc_dbe", 1),
            Bump("remapped_rows_uncorrectable", 1),
            Bump("row_remap_pending", 1),
            LogLine(
                "cuda_error",
                "RuntimeError: CUDA error: uncorrectable ECC error encountered",
                ENGINE,
                Witness.APPLICATION_LOG,
                0.5,
            ),
            Crash(lag_s=1.0),
            LogLine(ENGINE_DEAD.signature, ENGINE_DEAD.line, ENGINE, ENGINE_DEAD.witness, 2.0),
        ),
        mends=frozenset({Mend.REPAIR}),
        lead=(Press("ecc_corrected", 0.5, ramp_s=10),),
        per_gpu_hour=3.39e-6 + 8.95e-7,
        source=f"{LLAMA3} (HBM3 and SRAM)",
    ),
    FaultSpec(
        "nvlink_down",
        "An NVLink retries, then fails",
        GPU,
        presses=(Press("link_slow", 3.5, ramp_s=5), Press("link_errors", 40, ramp_s=5)),
        moments=(Xid(74, "NVLink: fatal error detected on link 14(0x0, 0x0, 0x10000)", lag_s=8.0),),
        mends=frozenset({Mend.REPAIR}),
        lead=(Press("link_errors", 4, ramp_s=20),),
        per_gpu_hour=1.65e-6,
        source=f"{LLAMA3} (network)",
    ),
    FaultSpec(
        "thermal_throttling",
        "A GPU loses its cooling",
        GPU,
        presses=(Press("heat_c", 52, ramp_s=40),),
        mends=frozenset({Mend.REPAIR}),
        per_gpu_hour=2.83e-7,
        source=f"{LLAMA3} (thermal interface)",
    ),
    FaultSpec(
        "gpu_straggler",
        "A GPU does the same work for more power and time",
        GPU,
        presses=(Press("hidden_work", 0.75, ramp_s=3), Press("hidden_power_w", 330, ramp_s=3)),
        mends=frozenset({Mend.REPAIR}),
        per_gpu_hour=1.0e-6,
        source=SPLIT,
    ),
    FaultSpec(
        "rank_hang",
        "One rank of an engine stands still",
        GPU,
        presses=(Press("gpu_stopped", 1),),
        moments=(
            LogLine(
                "worker_stall",
                "No available shared memory broadcast block found in 60 seconds.",
                ENGINE,
                Witness.APPLICATION_LOG,
                60.0,
            ),
            LogLine(
                "rpc_timeout",
                "TimeoutError: RPC call to execute_model timed out.",
                ENGINE,
                Witness.APPLICATION_LOG,
                300.0,
            ),
            Crash(lag_s=301.0),
        ),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=3.3e-7,
        source=f"{LLAMA3} (NCCL watchdog)",
    ),
    FaultSpec(
        "rank_crash",
        "One rank of an engine dies and its peers wait for it",
        GPU,
        presses=(Press("gpu_stopped", 1), Press("gpu_vacated", 1)),
        moments=(
            LogLine(
                "nccl_timeout",
                "[Rank 0] Watchdog caught collective operation timeout: WorkNCCL(SeqNum=1530001, "
                "OpType=ALLREDUCE, NumelIn=2097152, NumelOut=2097152, Timeout(ms)=20000) ran for "
                "20057 milliseconds before timing out.",
                ENGINE,
                Witness.APPLICATION_LOG,
                20.0,
            ),
            Crash(lag_s=25.0),
        ),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=3.3e-7,
    ),
    FaultSpec(
        "noisy_neighbour",
        "A process that belongs to no pod computes on a GPU",
        GPU,
        presses=(
            Press("foreign_sm", 0.45, ramp_s=2),
            Press("foreign_tensor", 0.42, ramp_s=2),
            Press("foreign_dram", 0.1, ramp_s=2),
            Press("foreign_bytes", 1.0 * GIB),
            Press("foreign_processes", 1),
        ),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(90, 240),
        per_gpu_hour=1.0e-6,
    ),
    FaultSpec(
        "gpu_memory_pressure",
        "A process that belongs to no pod fills a GPU's memory",
        GPU,
        presses=(Press("foreign_bytes", 40 * GIB, ramp_s=4), Press("foreign_processes", 1)),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(90, 240),
        per_gpu_hour=0.5e-6,
    ),
    FaultSpec(
        "pcie_saturation",
        "A process that belongs to no pod fills a GPU's PCIe link",
        GPU,
        presses=(
            Press("pcie_foreign", 25e9, ramp_s=2),
            Press("foreign_bytes", 1.5 * GIB),
            Press("foreign_processes", 1),
        ),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(90, 240),
        per_gpu_hour=0.5e-6,
    ),
    FaultSpec(
        "nvlink_contention",
        "A process that belongs to no pod fills the NVLinks between an engine's GPUs",
        GPU,
        presses=(
            Press("link_foreign", 147e9, ramp_s=2, all_ranks=True),
            Press("foreign_bytes", 2.5 * GIB, all_ranks=True),
            Press("foreign_processes", 1, all_ranks=True),
        ),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(90, 240),
        per_gpu_hour=0.3e-6,
    ),
    FaultSpec(
        "power_brake",
        "The power supply makes a GPU brake",
        GPU,
        presses=(
            Press("clock_ratio", 0.5),
            Press("throttle_bits", HW_SLOWDOWN | HW_POWER_BRAKE),
        ),
        mends=frozenset({Mend.REPAIR}),
        per_gpu_hour=1.41e-7,
        source=f"{LLAMA3} (power supply)",
    ),
    FaultSpec(
        "gpu_page_fault",
        "A program that belongs to no pod reads where it must not; the engine is untouched",
        GPU,
        presses=(Press("foreign_bytes", 0.5 * GIB), Press("foreign_processes", 1)),
        moments=(
            Xid(
                31,
                "MMU Fault: ENGINE GRAPHICS GPC1 FAULT_PDE ACCESS_TYPE_VIRT_WRITE",
                3.0,
                process="oob",
            ),
            Xid(43, "Ch 00000008", 3.0, process="oob"),
        ),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(10, 20),
        per_gpu_hour=0.5e-6,
    ),
)

ENGINE_FAULTS = (
    FaultSpec(
        "engine_hang",
        "An engine stops with requests in hand",
        ENGINE,
        presses=(Press("engine_hung", 1),),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=1.0e-6,
        source=f"{LLAMA3} (software bugs); split among faults invented",
    ),
    FaultSpec(
        "engine_crash",
        "An engine dies and starts again",
        ENGINE,
        moments=(Crash(), WORKER_DIED, ENGINE_DEAD),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=1.5e-6,
        source=f"{LLAMA3} (software bugs); split among faults invented",
    ),
    FaultSpec(
        "engine_oom_killed",
        "The kernel kills an engine's worker for want of host memory",
        ENGINE,
        moments=(
            LogLine(
                "oom_kill",
                "Memory cgroup out of memory: Killed process 23809 (VllmWorker)",
                NODE,
                Witness.KERNEL_LOG,
            ),
            Crash(lag_s=0.5),
            WORKER_DIED,
        ),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=0.4e-6,
    ),
    FaultSpec(
        "engine_memory_leak",
        "An engine allocates and never frees",
        ENGINE,
        presses=(Press("leak_rate", 0.2 * GIB),),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=0.8e-6,
    ),
    FaultSpec(
        "kv_cache_pressure",
        "An engine loses most of its KV cache",
        ENGINE,
        presses=(Press("engine_kv", 0.07, ramp_s=5),),
        mends=frozenset({Mend.RESTART, Mend.ITSELF}),
        lasts_s=(180, 400),
        per_gpu_hour=0.5e-6,
    ),
    FaultSpec(
        "batch_misconfiguration",
        "An engine may run only a few requests at once",
        ENGINE,
        presses=(Press("engine_slots", 0.0625),),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(180, 400),
        per_gpu_hour=0.3e-6,
    ),
    FaultSpec(
        "operator_degradation",
        "An engine falls back to a slow attention kernel",
        ENGINE,
        presses=(Press("engine_slow", 2.3), Press("engine_busy", 0.42)),
        mends=frozenset({Mend.RESTART}),
        per_gpu_hour=0.5e-6,
    ),
)

NODE_FAULTS = (
    FaultSpec(
        "host_cpu_starvation",
        "Other processes take the CPUs that an engine needs",
        NODE,
        presses=(Press("host_slow", 14), Press("host_busy", 0.065), Press("host_load", 4)),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(120, 300),
        per_gpu_hour=1.0e-6,
    ),
    FaultSpec(
        "node_not_ready",
        "A node goes down",
        NODE,
        presses=(Press("node_off", 1), Press("node_unready", 1)),
        moments=(Condition("Ready", "Unknown", "True", "NodeStatusUnknown", 40.0),),
        mends=frozenset({Mend.REPAIR}),
        per_gpu_hour=1.51e-6,
        source=f"{LLAMA3} (unplanned host maintenance)",
    ),
    FaultSpec(
        "collector_death",
        "The node's telemetry agent dies; the node is well",
        NODE,
        cause="telemetry_loss",
        presses=(Press("node_mute", 1),),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(90, 200),
        per_gpu_hour=1.0e-6,
    ),
    FaultSpec(
        "rack_power_loss",
        "A rack loses its power",
        RACK,
        cause="rack_outage",
        presses=(Press("node_off", 1), Press("node_unready", 1)),
        moments=(Condition("Ready", "Unknown", "True", "NodeStatusUnknown", 40.0),),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(150, 300),
        per_gpu_hour=9.42e-8,
        source=SPLIT,
    ),
    FaultSpec(
        "rack_switch_failure",
        "A rack's switch fails: its nodes run on, but nobody reaches them",
        RACK,
        cause="rack_outage",
        presses=(Press("node_dark", 1), Press("node_unready", 1)),
        moments=(Condition("Ready", "Unknown", "True", "NodeStatusUnknown", 40.0),),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(120, 240),
        per_gpu_hour=3.0e-7,
        source=SPLIT,
    ),
)

POOL_FAULTS = (
    FaultSpec(
        "long_prompt_flood",
        "A tenant sends prompts many times longer",
        POOL,
        presses=(Press("prompts", 14, ramp_s=5),),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(120, 240),
        per_gpu_hour=0.8e-6,
        one_tenant=True,
    ),
    FaultSpec(
        "request_surge",
        "Three times the requests",
        POOL,
        presses=(Press("arrivals", 3.0, ramp_s=10),),
        mends=frozenset({Mend.ITSELF}),
        lasts_s=(120, 240),
        per_gpu_hour=0.8e-6,
    ),
    FaultSpec(
        "bad_rollout",
        "A rollout brings a slower version",
        POOL,
        moments=(Rollout(slow=2.0),),
        mends=frozenset(),
        per_gpu_hour=0.5e-6,
    ),
)

CATALOGUE = {spec.name: spec for spec in (*GPU_FAULTS, *ENGINE_FAULTS, *NODE_FAULTS, *POOL_FAULTS)}
"""Every fault by name."""
