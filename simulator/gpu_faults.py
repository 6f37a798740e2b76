"""Faults that hit one GPU."""

from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from simulator.fault_sources import DELTA, ENGINE_DEAD, LLAMA3, SPLIT
from simulator.faults import Bump, Crash, FaultSpec, LogLine, Mend, Press, Xid

GPU, ENGINE, NODE = EntityKind.GPU, EntityKind.ENGINE, EntityKind.NODE
GIB = 2.0**30
HW_SLOWDOWN, HW_POWER_BRAKE = 8, 128
"""Bits of the clock-event reasons."""

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
