"""Faults that hit one engine."""

from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from simulator.fault_sources import ENGINE_DEAD, LLAMA3, WORKER_DIED
from simulator.faults import Crash, FaultSpec, LogLine, Mend, Press

ENGINE, NODE = EntityKind.ENGINE, EntityKind.NODE
GIB = 2.0**30

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
