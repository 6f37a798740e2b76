"""What it costs to watch a cluster of 5,000 nodes, how late a change comes, and what an API server
that is killed does to it.

`python -m benchmarks.kube_watch` prints what it measures and writes
`benchmarks/results/kube_watch.json`. etcd and kube-apiserver are real, kubelets are kwok's. Nodes
are as large as real ones (images, labels, managed fields), engines are pods bound to their nodes.
The controller manager and the scheduler are stopped once all is there, so that what changes is
known. The collector runs in a process of its own over a sink that counts: the log's share is not in
these figures.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.kube_watcher import digest
from benchmarks.kube_world import NAMESPACE, Admin, Churn, Journal, fill, wait_until
from benchmarks.machine import described
from collectors.kube_feeds import Feed, Resource
from collectors.kube_fold import KubeFold
from collectors.kube_sight import Sight
from collectors.kubernetes import KubeApi
from deploy.parts.kube import KubeCluster
from fleetmend.model.entities import TopologyOp
from fleetmend.settings.collectors import KubernetesSettings

RESULT = Path(__file__).parent / "results" / "kube_watch.json"
QUIET_S = 5.0
"""Seconds without news after which a watcher has heard everything."""


class Watcher:
    """The collector's process."""

    def __init__(self, kube: KubeCluster) -> None:
        words = [sys.executable, "-m", "benchmarks.kube_watcher", str(kube.kubeconfig), NAMESPACE]
        self.process = subprocess.Popen(
            words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, what: str) -> Any:
        """The answer to a command."""
        if self.process.stdin is None or self.process.stdout is None:
            raise RuntimeError("the watcher has no pipes")
        self.process.stdin.write(what + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def settled(self) -> bool:
        """Whether all is followed and nothing has come for a while."""
        now = self.ask("figures")
        return bool(now["following"]) and now["at_s"] - now["last_s"] > QUIET_S

    def end(self) -> None:
        """End it."""
        if self.process.stdin is not None:
            self.process.stdin.write("end\n")
            self.process.stdin.close()
        self.process.wait(60)


def main() -> None:
    """Measure, print, save."""
    words = argparse.ArgumentParser(description=__doc__)
    words.add_argument("--nodes", type=int, default=5_000)
    words.add_argument("--pods", type=int, default=10_000)
    words.add_argument("--per-s", type=float, default=100.0)
    words.add_argument("--seconds", type=float, default=60.0)
    words.add_argument("--result", type=Path, default=RESULT)
    given = words.parse_args()
    load = [round(one, 1) for one in os.getloadavg()]
    with tempfile.TemporaryDirectory(prefix="kube-watch-") as folder:
        kube = KubeCluster(Path(folder))
        try:
            figures = measure(kube, given)
        finally:
            kube.stop()
    document = described("kube_watch") | {
        "load_before": load,
        "load_after": [round(one, 1) for one in os.getloadavg()],
        "nodes": given.nodes,
        "gpus": 8 * given.nodes,
        "pods": given.pods,
        "simulated": "kubelets (kwok); controller manager and scheduler stopped; the sink counts",
        "figures": figures,
    }
    given.result.write_text(json.dumps(document, indent=1) + "\n")
    print(json.dumps(document, indent=1))


def measure(kube: KubeCluster, given: argparse.Namespace) -> dict[str, Any]:
    """Every figure, in turn."""
    admin = Admin(kube)
    setup_s = arrange(kube, admin, nodes=given.nodes, pods=given.pods)
    watcher = Watcher(kube)
    try:
        figures: dict[str, Any] = {"setup_s": setup_s, "sync": sync(watcher, given)}
        say("synchronised", figures["sync"])
        figures["rest"] = at_rest(watcher, given.seconds)
        say("at rest", figures["rest"])
        churn = Churn(admin, nodes=given.nodes, per_s=given.per_s, seed=7)
        churn.start()
        try:
            figures["churn"] = under_churn(watcher, churn, given.seconds)
            say("under churn", figures["churn"])
            figures["restart"] = over_a_kill(kube, watcher, churn)
        finally:
            churn.stop()
        figures["restart"] |= compared(kube, watcher, churn.journal)
        say("after the kill", figures["restart"])
        return figures
    finally:
        watcher.end()


def arrange(kube: KubeCluster, admin: Admin, *, nodes: int, pods: int) -> float:
    """Fill the cluster and wait until kwok has made everything run; the seconds that took."""
    began_s = time.monotonic()
    kube.create("/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    account = f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts/default"
    wait_until(lambda: admin.ask("GET", account) == 200, timeout_s=60)
    for name in ("kube-scheduler", "kube-controller-manager"):
        kube.daemons[name].stop()
    fill(admin, nodes=nodes, pods=pods)
    say("filled", {"seconds": round(time.monotonic() - began_s)})
    settings = KubernetesSettings(kubeconfig=str(kube.kubeconfig))
    api = KubeApi(settings)

    def waiting() -> int:
        objects = (obj for page in api.pages(Feed(Resource.PODS)) for obj in page.objects)
        return sum(obj.get("status", {}).get("phase") != "Running" for obj in objects)

    def all_run() -> bool:
        left = waiting()
        say("pods that do not run yet", {"left": left})
        time.sleep(5.0 if left else 0.0)
        return not left

    wait_until(all_run, timeout_s=1200)
    return round(time.monotonic() - began_s, 1)


def sync(watcher: Watcher, given: argparse.Namespace) -> dict[str, Any]:
    """From the start of the collector to the last of what was there."""
    wait_until(watcher.settled, timeout_s=600)
    now = watcher.ask("figures")
    before = now["before"]
    if (now["nodes"], now["engines"]) != (given.nodes, given.pods):
        raise RuntimeError(f"{now['nodes']} nodes and {now['engines']} engines were told")
    return {
        "seconds": round(now["last_s"] - before["at_s"], 2),
        "load_1min": round(os.getloadavg()[0], 1),
        "cpu_s": round(now["cpu_s"] - before["cpu_s"], 2),
        "memory_mb_before": round(before["memory_mb"], 1),
        "memory_mb_after": round(now["memory_mb"]["now"], 1),
        "memory_mb_highest": round(now["memory_mb"]["highest"], 1),
        "records": now["count"],
    }


def at_rest(watcher: Watcher, seconds: float) -> dict[str, Any]:
    """While nobody changes anything."""
    watcher.ask("told")
    before = watcher.ask("figures")
    time.sleep(seconds)
    return spent(before, watcher.ask("figures"))


def spent(before: dict[str, Any], after: dict[str, Any]) -> dict[str, Any]:
    """CPU and memory between two looks."""
    span_s = after["at_s"] - before["at_s"]
    return {
        "seconds": round(span_s, 1),
        "load_1min": round(os.getloadavg()[0], 1),
        "cpu_share": round((after["cpu_s"] - before["cpu_s"]) / span_s, 4),
        "memory_mb": round(after["memory_mb"]["now"], 1),
        "memory_mb_highest": round(after["memory_mb"]["highest"], 1),
    }


def under_churn(watcher: Watcher, churn: Churn, seconds: float) -> dict[str, Any]:
    """While a hundred things change each second."""
    time.sleep(5.0)
    watcher.ask("told")
    before, deeds = watcher.ask("figures"), churn.journal.deeds
    time.sleep(seconds)
    figures = spent(before, watcher.ask("figures"))
    done = churn.journal.deeds - deeds
    time.sleep(2.0)
    return figures | {
        "changes_per_s": round(done / figures["seconds"], 1),
        "delay": delays(watcher.ask("told"), churn.journal),
    }


def delays(told: dict[str, Any], journal: Journal) -> dict[str, Any]:
    """From sending a change, and from its being granted, to the topology record, milliseconds."""
    sent: list[float] = []
    granted: list[float] = []
    # Copies: others write on meanwhile.
    written = [(name, list(all_of_it)) for name, all_of_it in list(journal.drivers.items())]
    when = {(name, str(n)): (a, b) for name, all_of_it in written for n, a, b in all_of_it}
    pods = dict(journal.pods)
    for name, driver, at_s in told["drivers"]:
        if (name, driver) in when:
            sent_s, granted_s = when[name, driver]
            sent.append(at_s - sent_s)
            granted.append(max(0.0, at_s - granted_s))
    for name, at_s in told["engines"]:
        if name in pods:
            sent.append(at_s - pods[name][0])
            granted.append(max(0.0, at_s - pods[name][1]))
    return {
        "records": len(sent),
        "from_sending_ms": quantiles(sent),
        "from_the_answer_ms": quantiles(granted),
    }


def quantiles(spans_s: list[float]) -> dict[str, float]:
    """P50, P99 and the longest, in milliseconds."""
    ordered = sorted(spans_s)
    if not ordered:
        return {}
    places = {"p50": len(ordered) // 2, "p99": len(ordered) * 99 // 100, "max": len(ordered) - 1}
    return {name: round(1000 * ordered[place], 1) for name, place in places.items()}


def over_a_kill(kube: KubeCluster, watcher: Watcher, churn: Churn) -> dict[str, Any]:
    """The API server is killed while things change, and comes back without its memory."""
    server = kube.daemons["kube-apiserver"]
    before = watcher.ask("figures")
    server.kill()
    killed_s = time.monotonic()
    server.restart()
    server.await_ready(lambda: b"ok" in kube.get("/readyz"), timeout_s=180)
    ready_s = time.monotonic()
    wait_until(lambda: bool(watcher.ask("figures")["following"]), timeout_s=300)
    followed_s = time.monotonic()
    time.sleep(20.0)
    churn.stop()
    wait_until(watcher.settled, timeout_s=300)
    after = watcher.ask("figures")
    return {
        "server_away_s": round(ready_s - killed_s, 1),
        "followed_again_s": round(followed_s - ready_s, 1),
        "versions_expired": after["expired"] - before["expired"],
        "lists": after["lists"] - before["lists"],
        "failures": after["failures"],
        "memory_mb_highest": round(after["memory_mb"]["highest"], 1),
        "cpu_s": round(after["cpu_s"] - before["cpu_s"], 2),
    }


def compared(kube: KubeCluster, watcher: Watcher, journal: Journal) -> dict[str, Any]:
    """What the watcher told against what the API says now, and against what was done."""
    answer = watcher.ask("world")
    world, told = answer["world"], answer["told"]
    wanted = there(kube)
    lost = repeated = 0
    ids = [one[2] for changes in told.values() for one in changes]
    for name, written in journal.drivers.items():
        chain = told.get(name, [])
        befores = ["0", *(now for _, now, _ in chain)]
        lost += sum(was != before for (was, _, _), before in zip(chain, befores, strict=False))
        lost += befores[-1] != str(written[-1][0])
        repeated += sum(was == now for was, now, _ in chain)
    done = sum(len(written) for written in journal.drivers.values())
    return {
        "entities": len(wanted),
        "entities_missing": len(wanted.keys() - world.keys()),
        "entities_too_many": len(world.keys() - wanted.keys()),
        "entities_otherwise": sum(world.get(name, one) != one for name, one in wanted.items()),
        "driver_changes_made": done,
        "driver_changes_told": len(ids),
        "driver_changes_told_twice": len(ids) - len(set(ids)) + repeated,
        "driver_chains_broken": lost,
    }


def there(kube: KubeCluster) -> dict[str, str]:
    """A digest of each node and engine, from a fresh list."""
    settings = KubernetesSettings(kubeconfig=str(kube.kubeconfig), engine_namespaces=(NAMESPACE,))
    api, sight = KubeApi(settings), Sight(settings, cluster="c")
    fold = KubeFold(settings, cluster="c")
    found: dict[str, str] = {}
    for feed in (Feed(Resource.NODES), Feed(Resource.PODS)):
        for page in api.pages(feed):
            for obj in page.objects:
                for change in fold.take(feed, sight.see(feed, obj), 1.0).changes:
                    stated = change.op is TopologyOp.ENTITY
                    if stated and ("/node/" in change.entity or "/engine/" in change.entity):
                        found[change.entity] = digest(change.attributes)
    return found


def say(what: str, figures: dict[str, Any]) -> None:
    """Progress, for whoever waits."""
    print(f"{what}: {json.dumps(figures)}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
