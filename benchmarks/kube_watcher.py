"""The watched side of `benchmarks.kube_watch`: the collector in a process of its own, as it runs in
the role `collector`, with a sink that notes when what came.

Commands on standard input, one a line; the answer is one line of JSON: `figures`, `told` (and
forget), `world`, `end`.
"""

import hashlib
import json
import resource
import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from collectors.kube_reader import FeedState
from collectors.kube_watch import KubernetesCollector
from collectors.kubernetes import KubeApi
from fleetmend.clock import SystemClock
from fleetmend.model.entities import TopologyChange, TopologyOp
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.collectors import KubernetesSettings


class NotingSink:
    """Counts everything; keeps when drivers and engines came, and what was said of drivers."""

    def __init__(self) -> None:
        self.count: Counter[str] = Counter()
        self.drivers: list[tuple[str, str, float]] = []
        self.engines: list[tuple[str, float]] = []
        self.told: defaultdict[str, list[tuple[str, str, str]]] = defaultdict(list)
        """By node: from, to and id of each driver change, in order."""
        self.world: dict[str, str] = {}
        """A digest of the attributes of each node and engine that is there now."""
        self.last_s = time.monotonic()

    def samples(self, batch: SampleBatch, node: str) -> None:
        """There are none."""

    def event(self, event: Event) -> None:
        """Note it."""
        self.count[event.type.value] += 1
        if event.type is EventType.CHANGE and event.data["change"] == "driver":
            data = event.data
            self.told[_key(event.subject)].append((str(data["from"]), str(data["to"]), event.id))
        if event.type is not EventType.HEARTBEAT:
            self.last_s = time.monotonic()

    def topology(self, change: TopologyChange) -> None:
        """Note it."""
        now_s = self.last_s = time.monotonic()
        self.count[f"topology {change.op.value}"] += 1
        entity = change.entity
        if change.op is TopologyOp.ENTITY_GONE:
            self.world.pop(entity, None)
        elif change.op is TopologyOp.ENTITY and "/node/" in entity:
            self.world[entity] = digest(change.attributes)
            self.drivers.append((_key(entity), change.attributes.get("driver", ""), now_s))
        elif change.op is TopologyOp.ENTITY and "/engine/" in entity:
            self.world[entity] = digest(change.attributes)
            self.engines.append((change.attributes["pod"], now_s))

    def mark(self, at_s: float) -> None:
        """Nobody waits for them here."""
        self.count["mark"] += 1


def digest(attributes: dict[str, str]) -> str:
    """Of what is stated of one entity."""
    text = json.dumps(attributes, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def memory_mb() -> dict[str, float]:
    """Resident memory now and at its highest, MiB."""
    status = Path("/proc/self/status").read_text()
    found = {line.split(":")[0]: line.split()[1] for line in status.splitlines() if "kB" in line}
    return {"now": int(found["VmRSS"]) / 1024, "highest": int(found["VmHWM"]) / 1024}


def cpu_s() -> float:
    """CPU seconds of this process, all threads."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(kubeconfig: str, engines: str) -> None:
    """Watch until told to end."""
    settings = KubernetesSettings(enabled=True, kubeconfig=kubeconfig, engine_namespaces=(engines,))
    sink, stop = NotingSink(), threading.Event()
    made = KubernetesCollector(
        settings, cluster="c", sink=sink, clock=SystemClock(), api=KubeApi(settings)
    )
    before = {"memory_mb": memory_mb()["now"], "cpu_s": cpu_s(), "at_s": time.monotonic()}
    thread = threading.Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()
    for line in sys.stdin:
        match line.strip():
            case "figures":
                _answer(_figures(made, sink) | {"before": before})
            case "told":
                told = {"drivers": sink.drivers, "engines": sink.engines}
                sink.drivers, sink.engines = [], []
                _answer(told)
            case "world":
                _answer({"world": sink.world, "told": sink.told})
            case _:
                break
    stop.set()
    thread.join(30)


def _figures(made: KubernetesCollector, sink: NotingSink) -> dict[str, Any]:
    return {
        "at_s": time.monotonic(),
        "last_s": sink.last_s,
        "cpu_s": cpu_s(),
        "memory_mb": memory_mb(),
        "following": all(one.state is FeedState.FOLLOWING for one in made.readers),
        "states": {str(one.feed): one.state.value for one in made.readers},
        "lists": sum(one.lists for one in made.readers),
        "expired": sum(one.expired for one in made.readers),
        "repeated": sum(one.cursor.repeated for one in made.readers),
        "failures": dict(sum((one.failures for one in made.readers), Counter[str]())),
        "count": dict(sink.count),
        "nodes": sum("/node/" in entity for entity in list(sink.world)),
        "engines": sum("/engine/" in entity for entity in list(sink.world)),
    }


def _key(entity: str) -> str:
    return entity.rpartition("/")[2]


def _answer(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
