"""Central scraping: 5,000 targets of 40 KB every 10 seconds, into a real log.

`python -m benchmarks.scrape` starts exporters in a process of their own (their CPU is counted
apart), then the collector of the platform as `fleetmend up --roles collector` would run it, prints
a table and writes `benchmarks/results/scrape.json`. `--engine kafka` takes a real broker, `--shards
2` two collector processes; figures are kept under the name of both unless `--discard`. Every page
differs from the one before in nearly every value.

Timers around the parts of a scrape read the CPU clock of their thread: what the machine does beside
only makes waiting longer, not these figures. Times from scrape to log do contain it.
"""

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.machine import described
from collectors import compile, exposition, normalise, target
from deploy.parts.kafka import KafkaBroker
from fleetmend.clock import SystemClock
from fleetmend.model.samples import SampleBatch
from fleetmend.pipeline import Parts, Role, services
from fleetmend.services import ServiceThreads
from fleetmend.settings import Settings
from fleetmend.streams import codec, kafka, sqlite
from fleetmend.streams.engines import open_log

RESULT = Path(__file__).parent / "results" / "scrape.json"
KINDS = ("engine", "gpu", "node")
TICK = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")


def targets(count: int, port: int, interval_s: float) -> list[dict[str, Any]]:
    """The targets, a third of each kind."""
    found = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        found.append(
            {
                "url": f"http://127.0.0.1:{port}/{kind}/{number}",
                "kind": kind,
                "node": f"n-{number:0>6}",
                "engine": f"e-{number:0>6}" if kind == "engine" else "",
                "interval_s": interval_s,
                "timeout_s": interval_s / 2,
            }
        )
    return found


class Stopwatch:
    """CPU seconds by part of the work."""

    def __init__(self) -> None:
        self.cpu_s: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        self._inner = threading.local()

    def around(self, part: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The same function, timed; what timed parts within it take is theirs."""

        def timed(*args: Any, **more: Any) -> Any:
            inner = self._inner
            outside = getattr(inner, "s", 0.0)
            inner.s = 0.0
            begin = time.thread_time()
            try:
                return function(*args, **more)
            finally:
                taken = time.thread_time() - begin
                self.cpu_s[part] += taken - inner.s
                self.calls[part] += 1
                inner.s = outside + taken

        return timed

    def install(self) -> None:
        """Time the parts of a scrape where they are called."""
        parse = exposition.Exposition.parse
        exposition.Exposition.parse = self.around("parse", parse)  # type: ignore[method-assign]
        observe = normalise.Normaliser.observe
        normalise.Normaliser.observe = self.around("normalise", observe)  # type: ignore[method-assign]
        compile_plan = self.around("compile plans", compile.compile_plan)
        setattr(normalise, "compile_plan", compile_plan)  # noqa: B010  where it is called
        read = target.Target.read
        target.Target.read = self.around("rest of reading", read)  # type: ignore[method-assign]
        for module in (sqlite, kafka):
            setattr(module, "encode", self.around("encode", codec.encode))  # noqa: B010
        for log in (sqlite.SqliteLog, kafka.KafkaLog):
            log.append = self.around("append", log.append)  # type: ignore[method-assign]


class Latencies:
    """From the beginning of each scrape to the moment at which the log has its record."""

    def __init__(self, log: Any, clock: SystemClock) -> None:
        self._append, self._clock = log.append, clock
        self.seen: list[tuple[float, float]] = []
        """When a scrape began, and seconds until it was in the log."""
        log.append = self.append

    def append(self, records: Any) -> None:
        """Append, then look which scrapes were in it."""
        self._append(records)
        now_s = self._clock.now_s()
        for record in records:
            batch = record.payload
            if isinstance(batch, SampleBatch):
                ups = [c for c, name in enumerate(batch.signals) if name.endswith("scrape_up")]
                begun_s = batch.time_s[np.isin(batch.signal, ups)]
                self.seen += [(at_s, now_s - at_s) for at_s in begun_s.tolist()]


def collect(document: dict[str, Any], result: Path) -> None:
    """The collector process: runs until SIGTERM, then writes what it measured."""
    watch = Stopwatch()
    watch.install()
    settings, clock = Settings.model_validate(document), SystemClock()
    log = open_log(settings.streams, clock)
    latencies = Latencies(log, clock)
    parts = Parts(settings=settings, clock=clock, log=log, store=None, ports=_no_world)
    threads = ServiceThreads(services(parts, frozenset({Role.COLLECTOR})), clock)
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    threads.start()
    looks: list[dict[str, Any]] = []
    while not over.wait(1.0):
        looks.append(_look(watch))
    threads.stop()
    usage = resource.getrusage(resource.RUSAGE_SELF)
    document = {"looks": looks, "seen": latencies.seen, "peak_mib": usage.ru_maxrss / 1024}
    result.write_text(json.dumps(document))


def _look(watch: Stopwatch) -> dict[str, Any]:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    threads: dict[str, float] = {}
    for thread in threading.enumerate():
        stat = Path(f"/proc/self/task/{thread.native_id}/stat")
        if stat.exists():
            fields = stat.read_text().rpartition(")")[2].split()
            name = thread.name.partition("_")[0]
            threads[name] = threads.get(name, 0.0) + (int(fields[11]) + int(fields[12])) / TICK
    return {
        "at_s": time.time(),
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "parts": dict(watch.cpu_s),
        "calls": dict(watch.calls),
        "threads": dict(threads),
        "rss_mib": int(Path("/proc/self/statm").read_text().split()[1]) * PAGE / 2**20,
    }


def _no_world() -> Any:
    raise SystemExit("a collector acts on nothing")


def main() -> None:
    """Run the exporters and the collectors, measure, print, save."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--targets", type=int, default=5_000)
    parser.add_argument("--interval-s", type=float, default=10.0)
    parser.add_argument("--seconds", type=float, default=90.0, help="measured, after warming up")
    parser.add_argument("--warm-s", type=float, default=45.0)
    parser.add_argument("--engine", choices=("embedded", "kafka"), default="embedded")
    parser.add_argument("--shards", type=int, default=1)
    parser.add_argument("--discard", action="store_true", help="keep no figures")
    parser.add_argument("--collector", nargs=2, metavar=("SETTINGS", "RESULT"), help="internal")
    asked = parser.parse_args()
    if asked.collector:
        collect(json.loads(Path(asked.collector[0]).read_text()), Path(asked.collector[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        figures = measure(asked, Path(folder))
    _print(figures)
    if not asked.discard:
        document = json.loads(RESULT.read_text()) if RESULT.exists() else {}
        runs = document.get("runs", {}) | {
            f"{asked.engine} {asked.shards}": described("scrape") | figures
        }
        RESULT.write_text(json.dumps(described("scrape") | {"runs": runs}, indent=1) + "\n")


def measure(asked: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """One run of all processes."""
    broker = KafkaBroker(folder / "kafka") if asked.engine == "kafka" else None
    port_file, served = folder / "port", folder / "served.json"
    server = _start("benchmarks.scrape_server", str(port_file), str(served))
    collectors, results = [], []
    try:
        while not port_file.exists() or not port_file.read_text():
            time.sleep(0.05)
        every = targets(asked.targets, int(port_file.read_text()), asked.interval_s)
        for shard in range(asked.shards):
            settings, result = folder / f"settings-{shard}.json", folder / f"result-{shard}.json"
            streams = {"engine": asked.engine, "path": str(folder / f"log-{shard}.db")}
            if broker is not None:
                streams["bootstrap"] = broker.bootstrap
            share = {"targets": every, "shards": asked.shards, "shard": shard}
            settings.write_text(json.dumps({"streams": streams, "collectors": share}))
            collectors.append(
                _start("benchmarks.scrape", "--collector", str(settings), str(result))
            )
            results.append(result)
        time.sleep(asked.warm_s)
        loads = [os.getloadavg()[0]]
        begin = time.time(), time.monotonic(), _cpu_s(server.pid), _stolen_s()
        time.sleep(asked.seconds)
        end = time.time(), time.monotonic(), _cpu_s(server.pid), _stolen_s()
        loads.append(os.getloadavg()[0])
    finally:
        for process in [*collectors, server]:
            process.terminate()
        for process in [*collectors, server]:
            process.wait(60)
        if broker is not None:
            broker.daemon.stop()
    took_s = end[1] - begin[1]
    looked = [_collector(json.loads(r.read_text()), begin[0], end[0]) for r in results]
    latency_s = np.array([span for each in looked for span in each.pop("latency_s")])
    asked_at = json.loads(served.read_text())["asked"]
    return {
        "targets": asked.targets,
        "page_bytes": 40_000,
        "interval_s": asked.interval_s,
        "log": asked.engine,
        "shards": asked.shards,
        "measured_s": round(took_s, 1),
        "machine_beside": {
            "load_1min": [round(load, 1) for load in loads],
            "stolen_share": round((end[3] - begin[3]) / took_s / (os.cpu_count() or 1), 3),
        },
        "exporters_cpu_share": round((end[2] - begin[2]) / took_s, 3),
        "first_round_s": _first_round_s(asked_at),
        "schedule": _schedule(asked_at, begin[1], end[1], asked),
        "scrape_to_log_s": {
            "scrapes": len(latency_s),
            "p50": round(float(np.quantile(latency_s, 0.5)), 3),
            "p99": round(float(np.quantile(latency_s, 0.99)), 3),
            "max": round(float(latency_s.max()), 3),
        },
        "collectors": looked,
    }


def _start(module: str, *more: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-m", module, *more])


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def _stolen_s() -> float:
    """Seconds that the host gave to others, over all cores."""
    return int(Path("/proc/stat").read_text().split("\n")[0].split()[8]) / TICK


def _first_round_s(asked_at: dict[str, list[float]]) -> float:
    """Seconds from the first request to the moment at which every target had been asked once: the
    first page of each is the dearest."""
    firsts = [moments[0] for moments in asked_at.values()]
    return round(max(firsts) - min(firsts), 1)


def _collector(document: dict[str, Any], begin_s: float, end_s: float) -> dict[str, Any]:
    """What one collector process used between two moments, as shares of a core."""
    looks = [look for look in document["looks"] if begin_s <= look["at_s"] <= end_s]
    first, last = looks[0], looks[-1]
    took_s = float(last["at_s"] - first["at_s"])

    def share(name: str, key: str) -> float:
        return round(float(last[key].get(name, 0.0) - first[key].get(name, 0.0)) / took_s, 4)

    calls = last["calls"]["parse"] - first["calls"]["parse"]
    compiled = last["calls"].get("compile plans", 0) - first["calls"].get("compile plans", 0)
    parts = {name: share(name, "parts") for name in last["parts"]}
    parts["fetch"] = share("fetch", "threads")
    total = float(last["cpu_s"] - first["cpu_s"]) / took_s
    parts["all else"] = round(total - sum(parts.values()), 4)
    return {
        "cpu_share": round(total, 3),
        "parts": dict(sorted(parts.items(), key=lambda each: -each[1])),
        "parsing_of_all": round(parts["parse"] / total, 3),
        "threads": {name: share(name, "threads") for name in last["threads"]},
        "pages_per_s": round(calls / took_s, 1),
        "plans_per_s": round(compiled / took_s, 1),
        "rss_mib": round(last["rss_mib"]),
        "peak_mib": round(document["peak_mib"]),
        "latency_s": [span for at_s, span in document["seen"] if begin_s <= at_s <= end_s],
    }


def _schedule(
    asked_at: dict[str, list[float]], begin: float, end: float, asked: argparse.Namespace
) -> dict[str, Any]:
    """Who was asked when, as the exporters saw it."""
    wanted = asked.targets * (end - begin) / asked.interval_s
    came = [[at for at in moments if begin <= at <= end] for moments in asked_at.values()]
    gaps = np.concatenate([np.diff(moments) for moments in came if len(moments) > 1])
    late = gaps - asked.interval_s
    return {
        "targets_asked": sum(1 for moments in came if moments),
        "scrapes": sum(map(len, came)),
        "scrapes_wanted": round(wanted),
        "missed": int((gaps > 1.5 * asked.interval_s).sum()),
        "off_schedule_p50_s": round(float(np.quantile(np.abs(late), 0.5)), 3),
        "off_schedule_p99_s": round(float(np.quantile(np.abs(late), 0.99)), 3),
        "off_schedule_max_s": round(float(np.abs(late).max()), 3),
    }


def _print(figures: dict[str, Any]) -> None:
    for name, value in figures.items():
        if name != "collectors":
            print(f"{name:<22}{value}")
    for shard, each in enumerate(figures["collectors"]):
        print(f"collector {shard}")
        for name, value in each.items():
            print(f"  {name:<20}{value}")


if __name__ == "__main__":
    main()
