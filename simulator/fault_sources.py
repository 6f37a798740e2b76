"""Where the rates of faults come from, and lines that several faults leave in logs."""

from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from simulator.faults import LogLine

LLAMA3 = "Llama 3 (arXiv 2407.21783) Table 5, 16,384 H100"
SPLIT = f"{LLAMA3}; split among faults invented"
DELTA = "Delta (arXiv 2503.11901), A100"

ENGINE_DEAD = LogLine(
    "engine_dead",
    "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
    EntityKind.ENGINE,
    Witness.APPLICATION_LOG,
    lag_s=1.0,
)
WORKER_DIED = LogLine(
    "worker_died",
    "Worker proc VllmWorker-1 died unexpectedly (exit code: -9), shutting down executor.",
    EntityKind.ENGINE,
    Witness.APPLICATION_LOG,
)
