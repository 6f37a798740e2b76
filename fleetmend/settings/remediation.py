"""Settings of remediation: how far it may go by itself, and the bounds that hold whoever asks."""

from typing import Self

from pydantic import AwareDatetime, Field, model_validator

from fleetmend.model.plans import Autonomy
from fleetmend.settings.section import Section


class LimitSettings(Section):
    """How much of one failure domain may be taken out: per time AND at once."""

    taken_max: int = Field(default=2, ge=0)
    """Distinct nodes (or engines) that may be taken out within `window_s`. 2: a bad detector
    costs two nodes, not a fleet."""
    window_s: float = Field(default=600.0, gt=0)
    """Seconds that a taken node counts against `taken_max`. 600: a drain takes a minute, its
    effect on the rest of the pool shows some minutes later."""
    out_max: int = Field(default=8, ge=0)
    """Nodes (or engines) that may be out at once, whoever took them: the absolute bound."""
    out_fraction: float = Field(default=0.1, ge=0, le=1)
    """Share of the domain that may be out at once: the relative bound, rounded down but never
    below one, so that a small rack may lose a node; capacity still has its own say."""


class PoolSettings(Section):
    """What one pool allows; pools not named use the defaults."""

    autonomy: Autonomy = Autonomy.RECOMMEND
    """How far runbooks may go: observe, recommend, approve (a person agrees first), auto."""
    destructive_auto: bool = False
    """True lets `auto` cover resets, reboots and replacements; false always asks a person."""
    limits: LimitSettings = LimitSettings()
    """Bounds within this pool."""


class WindowSettings(Section):
    """A stretch of time in which something is not touched."""

    start: AwareDatetime
    """First moment, with a time zone: `2026-11-23T22:00:00+01:00`."""
    end: AwareDatetime
    """First moment after it."""
    reason: str = Field(min_length=1, max_length=200)
    """Shown with every refusal."""
    pools: tuple[str, ...] = ()
    """Names of pools it holds for; with `nodes` also empty it holds for the fleet."""
    nodes: tuple[str, ...] = ()
    """Names of nodes it holds for."""


class RemediationSettings(Section):
    """What remediation may do, how it works through it, and where it reaches the cluster."""

    runbooks: str = ""
    """Folder of runbooks of your own, instead of the shipped ones; empty means those that come with
    fleetmend, wherever it is started."""
    default: PoolSettings = PoolSettings()
    """For pools that `pools` does not name."""
    pools: dict[str, PoolSettings] = {}
    """By name of the pool."""
    rack_limits: LimitSettings = LimitSettings(taken_max=1, out_max=2, out_fraction=0.25)
    """Bounds within one rack (or switch): a rack shares power and a leaf switch."""
    fleet_limits: LimitSettings = LimitSettings(taken_max=5, out_max=50, out_fraction=0.05)
    """Bounds over the whole cluster."""
    maintenance: tuple[WindowSettings, ...] = ()
    """Somebody else works there: no action of ours."""
    freezes: tuple[WindowSettings, ...] = ()
    """Change freezes: no action of ours, giving back excepted."""
    platform_nodes: tuple[str, ...] = ()
    """Nodes that carry the platform's own broker, store or leader: never acted on."""
    foreign_owners: tuple[str, ...] = (
        "remediation.medik8s.io/",
        "node.kubernetes.io/out-of-service",
        "ManagedByNVSentinel",
        "dgxc.nvidia.com/",
    )
    """Prefixes of taint, label and annotation keys by which another tool owns a node: exactly one
    owner may mend it."""
    demand_margin: float = Field(default=1.25, ge=1)
    """Capacity that must remain, as a multiple of the trailing peak of demand."""
    demand_window_s: float = Field(default=900.0, gt=0)
    """Seconds over which the peak of demand is taken. 900: longer than a drain plus a model's
    loading time."""
    unknown_demand_fraction: float = Field(default=0.5, ge=0, le=1)
    """Share of a model's replicas that must remain when its demand is not known."""
    slots_per_replica: float = Field(default=64.0, gt=0)
    """Requests that one engine carries at once when its topology does not say (`slots`)."""
    domain_silent_fraction: float = Field(default=0.3, gt=0, le=1)
    """Share of a domain without telemetry from which on nothing in it is touched: the fault is
    more likely in what observes it."""
    shared_fraction: float = Field(default=0.5, gt=0, le=1)
    """Share of a domain with one and the same symptom from which on its parent is blamed (switch,
    power, driver rollout) and its nodes are left alone."""
    shared_nodes_min: int = Field(default=3, ge=2)
    """At least this many nodes must share the symptom: two of a pair prove nothing."""
    score_min: float = Field(default=0.5, ge=0, le=1)
    """Score that a cause needs before anything is done about it without a person. 0.5: likelier
    than all others, and than none, together."""
    behind_max_s: float = Field(default=60.0, gt=0)
    """Seconds that the newest completed diagnosis may lie behind the clock before everything that
    takes capacity away waits: old incidents may be over."""
    approval_ttl_s: float = Field(default=900.0, gt=0)
    """Seconds for which an approval holds when the runbook does not say."""
    lease_s: float = Field(default=15.0, gt=0)
    """Seconds for which a worker holds a session; after a crash another goes on this much
    later."""
    retry_s: float = Field(default=2.0, gt=0)
    """Seconds before a refused or waiting step is looked at again."""
    hold_check_s: float = Field(default=5.0, gt=0)
    """Seconds between two looks at what a session holds: that long may pass before a person's
    uncordon is noticed, or a resolved incident gives back."""
    poll_s: float = Field(default=0.05, gt=0)
    """Seconds that an idle executor waits before it asks for sessions again: the express lane's
    share of the way from a log line to a cordon."""
    drain_parallel: int = Field(default=4, ge=1)
    """Evictions that may be on their way at once on one node."""
    request_timeout_s: float = Field(default=5.0, gt=0)
    """Seconds after which a call to the cluster counts as failed."""
    kubeconfig: str = ""
    """Path of a kubeconfig; empty means the pod's own service account."""
    kubernetes: bool = False
    """True acts on a Kubernetes cluster; false on the simulator, where one is wired."""
    halt_file: str = "var/halt.json"
    """The halt switch on disk. A file that cannot be read, or is not there, means halted: run
    `fleetmend resume` once when setting up."""
    halt_configmap: str = ""
    """`namespace/name` of a ConfigMap that is read as a second switch; empty means none."""

    @model_validator(mode="after")
    def _lease_outlives_a_call(self) -> Self:
        if self.lease_s < 2 * self.request_timeout_s + 1:
            raise ValueError("lease_s: must be longer than two calls (request_timeout_s) and 1 s")
        return self
