"""Settings of collectors: where telemetry is read, and how much of it at most."""

from typing import Literal, Self

from pydantic import Field, model_validator

from fleetmend.settings.otlp import OtlpSettings
from fleetmend.settings.probe import ProbeSettings
from fleetmend.settings.section import Section


class TargetSettings(Section):
    """One page of metrics that is scraped."""

    url: str = Field(pattern=r"^https?://[^/\s@]+(/\S*)?$")
    """Address of the page, `http://node-3:9400/metrics`. Redirects are not followed."""
    kind: Literal["node", "gpu", "engine"]
    """What the page speaks of: `node` a node exporter, `gpu` a GPU exporter of one node, `engine`
    one inference engine."""
    node: str = ""
    """Name of the node, as the cluster knows it. Goes before what the page's labels say."""
    engine: str = ""
    """For `engine`: the key of the engine's entity, its pod UID in a cluster."""
    pod: str = ""
    """For `engine`: its pod as `namespace/name`, so that a GPU exporter's pod labels find it."""
    pool: str = "default"
    """Pool of the node or engine: the cohort that it is compared with."""
    gpus: tuple[str, ...] = ()
    """For `engine`: UUIDs of the GPUs that it runs on, where no exporter's labels tell."""
    ca_file: str = ""
    """File of the certificates that an https page is checked against; empty: the system's."""
    interval_s: float = Field(default=1.0, ge=0.1, le=300)
    """Seconds between scrapes. 1: hangs and faults show within seconds."""
    timeout_s: float = Field(default=0.8, gt=0, le=60)
    """Seconds for the whole scrape, from connecting to the last byte. Below the interval, so that
    a target that hangs says so in its own interval."""

    @model_validator(mode="after")
    def _fits_its_kind(self) -> Self:
        if self.kind == "engine" and not self.engine:
            raise ValueError("an engine target needs engine")
        if self.kind != "engine" and not self.node:
            raise ValueError(f"a {self.kind} target needs node")
        if self.kind != "engine" and (self.engine or self.pod or self.gpus):
            raise ValueError("engine, pod and gpus belong to engine targets")
        if self.timeout_s >= self.interval_s:
            raise ValueError("timeout_s must be less than interval_s")
        return self


class KernelLogSettings(Section):
    """One kernel log that is followed."""

    node: str = Field(min_length=1)
    """Name of the node whose log it is."""
    path: str = "/dev/kmsg"
    """`/dev/kmsg`, or a file of kmsg records or of `dmesg` output."""
    untold: Literal["application_log", "kernel_log"] = "application_log"
    """What a line without a facility counts as. Only a file that nobody but the kernel's own
    logger writes may say `kernel_log`; /dev/kmsg always tells."""
    look_back_s: float = Field(default=300.0, ge=0, le=600)
    """Seconds of the log that are read again at start, so that what was printed while the collector
    was down is not lost; what was told before is known by its number. 300: longer than a restart,
    and detection knows events again for ten minutes."""


class EngineLogSettings(Section):
    """One engine log that is followed."""

    engine: str = Field(min_length=1)
    """The key of the engine's entity, as in its target."""
    node: str = Field(min_length=1)
    """Name of the node that it runs on."""
    path: str = Field(min_length=1)
    """File that the engine's output goes to; rotation and truncation are followed."""


class KubernetesSettings(Section):
    """The cluster as a source of topology, conditions and changes."""

    enabled: bool = False
    """Whether the API server is watched."""
    kubeconfig: str = ""
    """File with the credentials; empty: the pod's own service account."""
    engine_label: str = "app.kubernetes.io/component=inference-engine"
    """Pods with this label (`key=value`) are engines, in `engine_namespaces` alone."""
    engine_namespaces: tuple[str, ...] = ("inference",)
    """Namespaces whose pods the label is believed of. Anybody who may make a pod somewhere may
    label it, and engines count as capacity; a pod with the label elsewhere is reported and is no
    engine."""
    operator_namespaces: tuple[str, ...] = ("gpu-operator", "kube-system")
    """Namespaces whose DaemonSets keep the driver and the device plugin: their updates are changes
    of the nodes that they reach."""
    pool_label: str = "fleetmend.io/pool"
    """Label of nodes and engine pods that names their pool; without it the pool is `default`."""
    rack_label: str = "topology.kubernetes.io/rack"
    """Label of nodes that names their rack."""
    zone_label: str = "topology.kubernetes.io/zone"
    """Label of nodes that names their zone."""
    model_label: str = "fleetmend.io/model"
    """Label of engine pods that names the model they serve."""
    watch_s: float = Field(default=300.0, ge=1, le=3600)
    """Seconds after which a watch is renewed. 300: servers end watches by themselves after about
    five minutes."""


class CollectorsSettings(Section):
    """Where telemetry comes from."""

    targets: tuple[TargetSettings, ...] = ()
    """Pages that are scraped."""
    states_topology: bool = True
    """Whether targets also state their nodes, pools and engines. Off where the cluster's API
    does."""
    workers: int = Field(default=2, ge=1, le=256)
    """Threads that read pages of up to 1 MiB; waiting for an answer takes none, and larger pages
    have a thread of their own. 2: Python runs one at a time, and more of them would only keep the
    thread that fetches from its turn."""
    shards: int = Field(default=1, ge=1, le=1024)
    """Collectors that share the targets and replicas between them. Each node or engine belongs to
    one; another number of shards moves as few as can be."""
    shard: int = Field(default=0, ge=0)
    """Which of the shards this one is, from 0. Shard 0 alone also does what is not shared: logs,
    the cluster's API, OpenTelemetry, thumbs."""
    body_bytes_max: int = Field(default=16_777_216, ge=65_536)
    """Most bytes of a page, as it comes and unpacked. 16 MiB: about 100,000 series."""
    held_bytes_max: int = Field(default=268_435_456, ge=1_048_576)
    """Most bytes of answers under way, over all targets, and as many again of pages over 1 MiB
    that wait to be read. Beyond it the longest answer is given up, and large pages are
    (`oversize`). 256 MiB: 5,000 pages of 50 KB at once."""
    series_max: int = Field(default=100_000, ge=100)
    """Most series of a page that are read; the rest is counted."""
    names_max: int = Field(default=512, ge=16)
    """Most entities of one kind that the labels of one target may name: GPUs, instances, models,
    nodes, switches while the collector runs, pods within an hour. What goes beyond gives no samples
    and no topology; the scrape event counts it and names the kinds. 512: pods of a node that runs
    jobs of a minute on each of eight GPUs; nothing else comes near."""
    stale_after_s: float = Field(default=60.0, gt=0)
    """A sample whose own time is older than this many seconds is dropped and counted."""
    backoff_max_s: float = Field(default=5.0, ge=0.1)
    """Longest pause between tries of a target that refuses. 5: it must be heard soon when it is
    back."""
    scrape_event_s: float = Field(default=10.0, ge=0)
    """Seconds between scrape events of a target with which all is as it was, six times as long
    where all is well; anything new is told at once. 0: one for every scrape."""
    kernel_logs: tuple[KernelLogSettings, ...] = ()
    """Kernel logs that are followed."""
    engine_logs: tuple[EngineLogSettings, ...] = ()
    """Engine logs that are followed."""
    events_per_minute_max: int = Field(default=600, ge=1)
    """Most events of one kind a minute from one log; more are dropped and counted. 600: an Xid
    storm is told by its first hundred lines."""
    probe: ProbeSettings = ProbeSettings()
    """Requests to engines, to see what their metrics hide."""
    kubernetes: KubernetesSettings = KubernetesSettings()
    """The cluster's API."""
    otlp: OtlpSettings = OtlpSettings()
    """OpenTelemetry in."""

    @model_validator(mode="after")
    def _is_one_of_the_shards(self) -> Self:
        if self.shard >= self.shards:
            raise ValueError("shard must be less than shards")
        return self
