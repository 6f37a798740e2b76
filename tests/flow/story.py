"""The whole platform on real parts, with one GPU that falls off the bus: what tests of the flow
tell, step by step."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from alerting.channels.pagerduty import dedup_key
from deploy.parts.kube import KubeCluster
from fleetmend.clock import SystemClock
from fleetmend.model.audit import AuditRecord
from fleetmend.model.entities import key_of
from fleetmend.model.incidents import Incident, IncidentStatus
from fleetmend.model.plans import Session, SessionState
from fleetmend.model.ticks import Mark
from fleetmend.settings.streams import StreamsSettings
from fleetmend.store import Store
from fleetmend.streams.codec import decode
from fleetmend.streams.engines import open_log
from fleetmend.streams.port import Log, RawRecord
from fleetmend.streams.topics import Topic
from remediation.halt import FileHalt
from tests.flow.exporters import Gpu, GpuNodes
from tests.flow.serving import KUBERNETES, AuditWitness, ServingPool
from tests.flow.workers import Workers, toml
from tests.real.receiver import BEARER, ROUTING_KEY, Receiver

ROOT = Path(__file__).parents[2]
NODES, REPLICAS = 16, 32
HEARD = 6
"""Scrapes of each node before the story begins: silence means something only after some."""
DEADLINE_S = 120.0
"""For each wait. Generous: it is the limit of a hung test, not a measure."""
PROBATION_S = 2.0


@dataclass(frozen=True, slots=True)
class Parts:
    """The real parts, as the fixtures give them."""

    kube: KubeCluster
    bootstrap: str
    database: str
    folder: Path


class Flow:
    """A platform that runs, its fleet, and what can be asked of it."""

    def __init__(
        self, pool: ServingPool, nodes: GpuNodes, workers: Workers, receiver: Receiver, parts: Parts
    ) -> None:
        self.pool = pool
        self.nodes = nodes
        self.workers = workers
        self.receiver = receiver
        self.witness = AuditWitness(pool)
        self.clock = SystemClock()
        self.store = Store(parts.database, self.clock)
        self._parts = parts
        self._log: Log | None = None

    @property
    def log(self) -> Log:
        """The log that the platform writes to."""
        if self._log is None:
            self._log = open_log(streams(self._parts, self.pool), self.clock)
        return self._log

    def close(self) -> None:
        """Let go of store and log."""
        self.store.close()
        if self._log is not None:
            self._log.close()

    def await_(self, what: str, until: Callable[[], object]) -> None:
        """Wait until it is true. Fails when it does not come, at once when a worker has left."""
        deadline_s = self.clock.monotonic_s() + DEADLINE_S
        never = threading.Event()
        while not until():
            gone = self.workers.left()
            if gone or self.clock.monotonic_s() > deadline_s:
                why = f"{gone} left" if gone else f"not within {DEADLINE_S:.0f} s"
                raise AssertionError(f"{what}: {why}")
            self.clock.wait(never, 0.05)

    def warm_up(self) -> None:
        """Wait until the platform knows this fleet: every GPU heard, every stage up to now."""
        self.await_("the workers are ready", self.workers.ready)
        self.await_("scrapes", lambda: min(self.nodes.served.values()) >= HEARD)
        now_s = self.clock.now_s()
        self.await_("detection is up to now", lambda: self.marked_s(Topic.FINDINGS) >= now_s)
        self.await_("diagnosis is up to now", lambda: self.marked_s(Topic.INCIDENTS) >= now_s)

    def marked_s(self, topic: Topic) -> float:
        """Event time up to which a stage's output is complete."""
        marks = [
            record.payload.at_s
            for raw in self.records(topic, newest=50)
            if isinstance((record := decode(raw)).payload, Mark)
        ]
        return max(marks, default=0.0)

    def records(self, topic: Topic, *, newest: int = 100_000) -> list[RawRecord]:
        """Records of a topic, in order within each partition; the newest of each if so many are
        enough."""
        found: list[RawRecord] = []
        for place in self.log.partitions(topic):
            end = self.log.end(place)
            position = max(self.log.begin(place), end - newest)
            while position < end:
                more = self.log.read({place: position}, limit=1000, wait_s=1.0)
                position = more[-1].offset + 1 if more else position
                found += more
        return found

    def incidents(self) -> list[Incident]:
        """All that there are."""
        with self.store.reading() as tx:
            return tx.incidents.page(limit=500)

    def incidents_of(self, gpu: Gpu) -> list[Incident]:
        """Those about one GPU."""
        return [incident for incident in self.incidents() if key_of(incident.entity) == gpu.uuid]

    def history(self, incident: str) -> list[Incident]:
        """Every version of one."""
        with self.store.reading() as tx:
            return tx.incidents.history(incident)

    def sessions(self) -> list[Session]:
        """Every session of every incident."""
        with self.store.reading() as tx:
            return [s for i in tx.incidents.page(limit=500) for s in tx.sessions.for_incident(i.id)]

    def audit(self) -> list[AuditRecord]:
        """The platform's own audit log."""
        with self.store.reading() as tx:
            return tx.audit.all()

    def audited(self) -> int:
        """How long it is."""
        with self.store.reading() as tx:
            return tx.audit.head()

    def everything(self) -> str:
        """What is known of all that happened, for a reader of a failure."""
        lines = [_line_of(i) for newest in self.incidents() for i in self.history(newest.id)]
        lines += [f"{s.id} {s.state} {s.reason} {s.steps}" for s in self.sessions()]
        lines += [f"{r.seq} {r.at_s:.2f} {r.verb} {r.subject} {r.detail}" for r in self.audit()]
        lines += [str(patch) for patch in self.witness.patches()]
        return "\n".join([*lines, self.workers.tails()])


@contextmanager
def running(
    parts: Parts,
    *,
    nodes_wanted: int = NODES,
    replicas: int = REPLICAS,
    scrape_s: float = 1.0,
    changes: Callable[[str], Mapping[str, object]] = lambda pool: {},
) -> Iterator[Flow]:
    """Everything arranged and started, and warm. `scrape_s`: between scrapes of a node; `changes`
    of the settings, for a pool's name."""
    pool = ServingPool(parts.kube, nodes=nodes_wanted, replicas=replicas)
    with GpuNodes(pool.nodes, parts.folder) as nodes, Receiver() as receiver:
        settings = parts.folder / "fleetmend.toml"
        values = settings_of(parts, pool, nodes, receiver, scrape_s=scrape_s)
        values |= changes(pool.name)
        settings.write_text(toml(values))
        workers = Workers(settings, parts.folder)
        workers.start()
        flow = Flow(pool, nodes, workers, receiver, parts)
        try:
            flow.await_("tables", flow.store.at_head)
            flow.await_("engines", pool.ready)
            flow.warm_up()
            yield flow
        except BaseException as error:
            error.add_note(flow.everything())
            raise
        finally:
            workers.stop()
            flow.close()
            pool.remove()


def streams(parts: Parts, pool: ServingPool) -> StreamsSettings:
    """The log of this flow alone."""
    return StreamsSettings(
        engine="kafka", bootstrap=parts.bootstrap, prefix=f"{pool.name}.", partitions=2
    )


def settings_of(
    parts: Parts, pool: ServingPool, nodes: GpuNodes, receiver: Receiver, *, scrape_s: float
) -> dict[str, object]:
    """What all roles share. Quiet times are short, so that a fault is over soon after it ends."""
    kube, folder = parts.kube, parts.folder
    FileHalt(folder / "halt.json").create()
    for manifest in ("rbac.yaml", "node-policy.yaml", "halt.yaml", "rbac-collector.yaml"):
        kube.apply(KUBERNETES / manifest)
    kube.apply(KUBERNETES / "eviction.yaml", namespace=pool.name)
    log = streams(parts, pool)
    return {
        "cluster": pool.name,
        "streams.engine": log.engine,
        "streams.bootstrap": log.bootstrap,
        "streams.prefix": log.prefix,
        "streams.partitions": log.partitions,
        "store.url": parts.database,
        "ticks.snapshot_every": 5,
        "detection.absent_after_s": 3.0,
        "detection.absent_at_most_s": 5.0,
        "detection.quiet_s": 2.0,
        "rca.incident.resolve_after_s": 2.0,
        "rca.incident.closing_s": 3.0,
        "rca.incident.mitigated_hold_s": 2.0,
        "collectors.targets": [
            {
                "url": f"{nodes.url}/{node}/metrics",
                "kind": "gpu",
                "node": node,
                "pool": pool.name,
                "interval_s": scrape_s,
                "timeout_s": 0.95,
            }
            for node in pool.nodes
        ],
        "collectors.states_topology": False,
        "collectors.kernel_logs": [
            {"node": node, "path": nodes.kernel_log(node)} for node in pool.nodes
        ],
        "collectors.kubernetes.enabled": True,
        "collectors.kubernetes.engine_namespaces": [pool.name],
        "collectors.kubernetes.kubeconfig": kube.account_config("fleetmend", "fleetmend-collector"),
        "remediation.runbooks": runbooks(folder),
        "remediation.kubernetes": True,
        "remediation.kubeconfig": kube.account_config("fleetmend", "fleetmend-executor"),
        "remediation.halt_file": folder / "halt.json",
        "remediation.halt_configmap": "fleetmend/halt",
        "remediation.request_timeout_s": 2.0,
        "remediation.lease_s": 5.0,
        "remediation.retry_s": 0.5,
        "remediation.hold_check_s": 0.5,
        f"remediation.pools.{pool.name}.autonomy": "auto",
        "alerting.receivers": receivers(folder, receiver),
    }


def runbooks(folder: Path) -> Path:
    """The platform's own runbooks, with a probation that a test can wait for."""
    copies = folder / "runbooks"
    copies.mkdir()
    for path in (ROOT / "runbooks").glob("*.yaml"):
        runbook = yaml.safe_load(path.read_text())
        if "probation_s" in runbook:
            runbook["probation_s"] = PROBATION_S
        (copies / path.name).write_text(yaml.safe_dump(runbook, sort_keys=False))
    return copies


def receivers(folder: Path, receiver: Receiver) -> list[dict[str, object]]:
    """Alertmanager and PagerDuty, both on loopback, which has to be allowed by name."""
    (folder / "routing-key").write_text(ROUTING_KEY)
    (folder / "bearer").write_text(BEARER)
    common: dict[str, object] = {
        "severities": ["P0", "P1", "P2", "P3"],
        "networks": ["127.0.0.0/8"],
    }
    return [
        {
            "name": "alertmanager",
            "kind": "alertmanager",
            "url": f"{receiver.url}/alertmanager",
            "secret_file": folder / "bearer",
            **common,
        },
        {
            "name": "pagerduty",
            "kind": "pagerduty",
            "url": f"{receiver.url}/pagerduty",
            "secret_file": folder / "routing-key",
            **common,
        },
    ]


def choose(flow: Flow, number: int) -> Gpu:
    """A GPU of a node that carries at least two engines, by number."""
    loaded = sorted(
        {
            e.node
            for e in flow.pool.engines()
            if sum(o.node == e.node for o in flow.pool.engines()) > 1
        }
    )
    node = loaded[number % len(loaded)]
    return [gpu for gpu in flow.nodes.gpus if gpu.node == node][number % 8]


@dataclass(frozen=True, slots=True)
class Told:
    """What happened, for the tests to judge."""

    gpu: Gpu
    engines: frozenset[str]
    """Uids of the engines that ran on its node."""
    guard: str
    """Uid of the pod whose budget blocked for a while."""
    line_s: float
    """When the kernel printed the line, Unix seconds."""


def tell(flow: Flow, number: int, *, meanwhile: Callable[[], None] = lambda: None) -> Told:
    """A GPU falls off the bus; its node is cordoned, drained against the budgets, held, and given
    back when the GPU answers again. `meanwhile` is called as soon as the kernel has said so."""
    gpu = choose(flow, number)
    guard = flow.pool.guard(gpu.node)
    flow.await_("the guard's budget", flow.pool.guarded)
    engines = frozenset(pod.uid for pod in flow.pool.engines() if pod.node == gpu.node)
    line_s = flow.nodes.lose(gpu)
    meanwhile()
    flow.await_("cordon", lambda: flow.witness.patches())
    flow.await_("drain", lambda: engines <= set(flow.witness.evictions(201)))
    flow.await_("the budget blocks", lambda: flow.witness.evictions(429)[guard.uid])
    flow.pool.relax()
    flow.await_("hold", lambda: _is(flow, gpu, SessionState.HOLDING))
    flow.nodes.bring_back(gpu)
    flow.await_("resolution", lambda: _resolved(flow, gpu))
    flow.await_("given back", lambda: _is(flow, gpu, SessionState.DONE))
    flow.await_("last word", lambda: _last_word(flow, gpu))
    return Told(gpu, engines, guard.uid, line_s)


def _line_of(incident: Incident) -> str:
    """An incident for a reader of a failure."""
    causes = [f"{c.cause} {c.entity} {c.score:.2f}" for c in incident.causes[:3]]
    seen = [f"{e.symptom} {e.entity}" for e in incident.evidence]
    return (
        f"{incident.id} v{incident.version} {incident.updated_at_s:.2f} {incident.change} "
        f"{incident.status} {incident.abstention} provisional={incident.provisional} "
        f"causes={causes} evidence={seen}"
    )


def _is(flow: Flow, gpu: Gpu, state: SessionState) -> bool:
    """A session about this GPU: a worker that is back late may have given rise to others."""
    about = {incident.id for incident in flow.incidents_of(gpu)}
    return any(s.state is state for s in flow.sessions() if s.incident in about)


def _resolved(flow: Flow, gpu: Gpu) -> bool:
    incidents = flow.incidents_of(gpu)
    return bool(incidents) and all(i.status is IncidentStatus.RESOLVED for i in incidents)


def _last_word(flow: Flow, gpu: Gpu) -> bool:
    """Both receivers have heard of the end."""
    about = {incident.id for incident in flow.incidents_of(gpu)}
    said = [(r.path, r.json()) for r in flow.receiver.received if r.status < 300]
    alerts = [alert for path, b in said if path == "/alertmanager" for alert in b["alerts"]]
    closed = {b["dedup_key"] for _, b in said if b.get("event_action") == "resolve"}
    over = {a["labels"]["incident"] for a in alerts if a["status"] == "resolved"}
    return about <= over and {dedup_key(incident) for incident in about} <= closed
