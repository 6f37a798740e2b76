"""Faults that hit a node, a rack or a whole pool."""

from fleetmend.model.entities import EntityKind
from simulator.fault_sources import LLAMA3, SPLIT
from simulator.faults import Condition, FaultSpec, Mend, Press, Rollout

NODE, RACK, POOL = EntityKind.NODE, EntityKind.RACK, EntityKind.POOL

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
