"""Settings of the simulated fleet."""

from typing import Literal

from pydantic import Field

from fleetmend.settings.section import Section


class SimulatedPool(Section):
    """One pool: nodes that serve one model with engines of one size."""

    name: str
    """Name of the pool, also of its router."""
    model: str
    """Name of the model that its engines serve."""
    tensor_parallel: Literal[1, 2, 4, 8]
    """GPUs of one engine. An engine never spans nodes."""
    share: float = Field(gt=0, le=1)
    """Share of the fleet's nodes. The last pool takes what rounding leaves."""
    slots: int = Field(default=64, ge=1)
    """Requests that an engine runs at once. 64: the limit of the recorded engine."""
    prompt_tokens: float = Field(default=900.0, gt=0)
    """Mean prompt length, tokens. Invented."""
    output_tokens: float = Field(default=220.0, gt=0)
    """Mean answer length, tokens. Invented."""
    token_ms: float = Field(default=14.0, gt=0)
    """Milliseconds of GPU time of a decode step with an empty batch. Invented."""
    token_ms_per_request: float = Field(default=0.22, ge=0)
    """Milliseconds that each running request adds to a step. Recorded: 0.48 on one H200."""
    host_ms: float = Field(default=4.0, ge=0)
    """Milliseconds of host work in each step. Invented; what CPU starvation multiplies."""
    prefill_tokens_per_s: float = Field(default=40_000.0, gt=0)
    """Prompt tokens that an engine could read each second if it did nothing else. Invented."""
    kv_tokens: float = Field(default=300_000.0, gt=0)
    """Tokens that the KV cache of an engine holds. Invented."""


class SimulatedLoad(Section):
    """How many requests arrive."""

    mean_running: float = Field(default=0.5, gt=0, lt=1)
    """Share of slots in use on an average day. 0.5 leaves room for one lost node in ten."""
    day_swing: float = Field(default=0.25, ge=0, lt=1)
    """Half of the distance between the quietest and the busiest hour, as a share of the mean."""
    day_s: float = Field(default=86_400.0, gt=0)
    """Seconds of a day; shorter to see one pass in a demonstration."""
    burst_every_s: float = Field(default=300.0, gt=0)
    """Mean seconds between lawful bursts of a pool. Invented."""
    burst_s: float = Field(default=20.0, gt=0)
    """Mean seconds that a burst lasts. Invented."""
    burst_factor: float = Field(default=1.2, ge=1)
    """How much a burst multiplies arrivals. 1.2 is absorbed without a queue."""
    tenants: int = Field(default=6, ge=1, le=1000)
    """Tenants that share the fleet; the first is the largest (shares fall as 1/rank)."""
    client_timeout_s: int = Field(default=60, ge=1, le=120)
    """Seconds after which a waiting client gives up. 60: the recorded clients."""
    growth_per_day: float = Field(default=0.0, gt=-1)
    """Share by which requests grow in a day of `day_s`. 0: the same every day."""
    prompt_swing: float = Field(default=0.0, ge=0, lt=1)
    """Half of the distance between the shortest and the longest mean prompt of a day, as a share of
    the mean, a quarter of a day behind the requests. 0: always the same mix."""
    disconnect_every_s: float = Field(default=0.0, ge=0)
    """Mean seconds between waves in which clients of a pool close their connections; 0 none."""
    disconnect_share: float = Field(default=0.3, gt=0, le=1)
    """Share of a pool's requests whose clients leave in such a wave. Invented."""


class SimulatedLife(Section):
    """How long people, machines and Kubernetes take."""

    start_s_min: float = Field(default=20.0, ge=0)
    """Least seconds from a scheduled pod to a serving engine."""
    start_s_max: float = Field(default=40.0, ge=0)
    """Most seconds from a scheduled pod to a serving engine."""
    evict_s: float = Field(default=3.0, ge=0)
    """Seconds from an accepted eviction until the pod is gone. vLLM on SIGTERM takes 1.3."""
    backoff_s: float = Field(default=10.0, ge=0)
    """Seconds before the first restart of a crashed container; doubles up to five minutes."""
    unavailable_share: float = Field(default=0.1, gt=0, le=1)
    """Share of a model's engines that its disruption budget lets go at once; at least one."""
    repair_s: float = Field(default=90.0, gt=0)
    """Median seconds of a repair once the node is empty. Published MTTR is 2.2 h; this is
    shortened for demonstrations."""
    repair_spread: float = Field(default=0.4, ge=0)
    """Spread (sigma of the logarithm) of repair and on-call times. Invented."""
    on_call_s: float = Field(default=600.0, gt=0)
    """Median seconds until a person mends what nobody has answered. Invented."""


class LawfulLife(Section):
    """What controllers and people do to a healthy fleet. All of it is off unless it is set."""

    autoscale: bool = False
    """Whether replicas of each pool follow the load, by the rule of Kubernetes' autoscaler."""
    autoscale_every_s: float = Field(default=15.0, gt=0)
    """Seconds between two looks of the autoscaler. 15: Kubernetes' default."""
    autoscale_down_s: float = Field(default=300.0, ge=0)
    """Seconds for which fewer replicas must have been enough. 300: Kubernetes' default."""
    autoscale_min_share: float = Field(default=0.5, gt=0, le=1)
    """Least share of a pool's replicas that stay. Invented."""
    maintenance_every_s: float = Field(default=0.0, ge=0)
    """Mean seconds between nodes that a person takes out to work on; 0 none."""
    maintenance_s: float = Field(default=180.0, gt=0)
    """Seconds that an emptied node is down. Invented; a reboot of a GPU node takes minutes."""
    drain_s: float = Field(default=120.0, ge=0)
    """Most seconds that a pod which its controller ends may finish the requests it has."""


class FaultSchedule(Section):
    """Faults that come by themselves."""

    speed_up: float = Field(default=2_500.0, ge=0)
    """Times the published failure rates, which are those of training fleets: no table of an
    inference fleet was found. 2,500 brings a fault to 1,000 GPUs about once a minute; 0 none."""
    lemon_share: float = Field(default=0.025, ge=0, le=1)
    """Share of nodes that fail far more often. Published: a few nodes in a hundred."""
    lemon_factor: float = Field(default=30.0, ge=1)
    """How much more often those nodes fail. Published readings: 20 to 50."""
    open_max: int = Field(default=6, ge=1)
    """Faults open at once; more are put off. Keeps a sped-up fleet from drowning."""
    deploy_every_s: float = Field(default=1_800.0, ge=0)
    """Mean seconds between lawful rollouts; 0 means none."""
    quiet_s: float = Field(default=60.0, ge=0)
    """Seconds after the start without scheduled faults, so that detectors see calm first."""


DEFAULT_POOLS = (
    SimulatedPool(name="chat", model="qwen3-32b", tensor_parallel=2, share=0.36),
    SimulatedPool(
        name="assist",
        model="llama-70b",
        tensor_parallel=4,
        share=0.36,
        token_ms=17.0,
        prefill_tokens_per_s=32_000.0,
    ),
    SimulatedPool(
        name="reason",
        model="deepseek-v3-chat",
        tensor_parallel=8,
        share=0.28,
        token_ms=20.0,
        output_tokens=420.0,
        prefill_tokens_per_s=36_000.0,
        kv_tokens=400_000.0,
    ),
)


class SimulatorSettings(Section):
    """The simulated fleet: used by `fleetmend simulate`, the demonstration and tests."""

    cluster: str = "sim"
    """First part of every entity id."""
    gpus: int = Field(default=1_000, ge=8, le=100_000)
    """GPUs of the fleet, a multiple of 8: every node has 8."""
    nodes_per_rack: int = Field(default=8, ge=1)
    """Nodes that share a rack's power and switch."""
    zones: int = Field(default=3, ge=1)
    """Zones; racks are dealt to them in turn."""
    pools: tuple[SimulatedPool, ...] = Field(default=DEFAULT_POOLS, min_length=1)
    """What the fleet serves."""
    spare_share: float = Field(default=0.07, ge=0, lt=1)
    """Share of each pool's nodes that is kept empty for pods that must move; at least one node
    where a pool has two or more."""
    load: SimulatedLoad = SimulatedLoad()
    """How many requests arrive."""
    life: SimulatedLife = SimulatedLife()
    """How long things take."""
    faults: FaultSchedule = FaultSchedule()
    """Faults that come by themselves."""
    lawful: LawfulLife = LawfulLife()
    """What controllers and people do to a healthy fleet."""
    settle_s: int = Field(default=60, ge=0)
    """Seconds simulated before the first one shown, so that queues and temperatures are even."""
    backlog_s: int = Field(default=600, ge=1)
    """Seconds of unread observations that are kept; the oldest go first and are counted."""
