"""How fast OTLP metrics become Arrow, against the plain protobuf walk in the same run.

`python -m benchmarks.otlp` prints a table and writes `benchmarks/results/otlp.json`. A message
holds 5,000 points. The walk parses with protobuf (upb) and takes name, id, time and value of each
point into lists. Ours gives an Arrow batch with metric, all attributes, start, time, value and
flags, and is measured in several ways: `same` the sender writes the same series each time, `mixed`
the points come in an order that was never seen, `cold` nothing has been seen before, `node` 320
points of one node that come again. `latency` is 1,000 histograms of 50 engines that come again,
`latency-new` those with an exemplar each, so that no message is like another: the walk takes name,
id, time, count, sum and the counts of the buckets.
"""

import json
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from benchmarks.machine import described
from collectors.otlp.decoder import Decoder
from collectors.otlp.points import HistogramColumns, histograms_to_arrow, to_arrow

RESULT = Path(__file__).parent / "results" / "otlp.json"
ROUNDS = 15
POINTS = 5_000
METRICS = 20
HISTOGRAMS = 1_000
BOUNDS = [0.01 * 2**n for n in range(15)]
SHAPES = ("same", "mixed", "node", "cold", "latency", "latency-new")


@dataclass(frozen=True, slots=True)
class Figure:
    """One shape of message."""

    shape: str
    attributes: int
    points: int
    bytes: int
    walk_m_per_s: float
    """Million points a second of CPU, best round."""
    ours_m_per_s: float

    @property
    def times(self) -> float:
        """How many times faster ours is."""
        return self.ours_m_per_s / self.walk_m_per_s


def message(
    *, attributes: int, seed: int, points: int = POINTS, metrics: int = METRICS, mixed: bool = False
) -> bytes:
    """A message of `metrics` gauges over `points / metrics` GPUs."""
    rng = random.Random(seed)
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    each = points // metrics
    for number in range(metrics):
        metric = scope.metrics.add(name=f"hw.gpu.metric_{number}", unit="1")
        for gpu in rng.sample(range(each), each) if mixed else range(each):
            point = metric.gauge.data_points.add(
                time_unix_nano=1_795_397_018_000_000_000 + seed * 1_000_000_000,
                start_time_unix_nano=1_795_390_000_000_000_000,
                as_double=rng.random(),
            )
            for key, text in _labels(gpu)[:attributes]:
                added = point.attributes.add(key=key)
                added.value.string_value = text
    return bytes(request.SerializeToString())


def latencies(*, attributes: int, seed: int, exemplars: bool = False) -> bytes:
    """A message of as many histograms as it has gauges elsewhere, over `HISTOGRAMS / METRICS`
    engines."""
    rng = random.Random(seed)
    request = ExportMetricsServiceRequest()
    scope = request.resource_metrics.add().scope_metrics.add()
    for number in range(METRICS):
        metric = scope.metrics.add(name=f"gen_ai.server.metric_{number}", unit="s")
        metric.histogram.aggregation_temporality = 2
        for engine in range(HISTOGRAMS // METRICS):
            counts = [rng.randrange(1000) for _ in range(len(BOUNDS) + 1)]
            point = metric.histogram.data_points.add(
                time_unix_nano=1_795_397_018_000_000_000 + seed * 1_000_000_000,
                start_time_unix_nano=1_795_390_000_000_000_000,
                bucket_counts=counts,
                explicit_bounds=BOUNDS,
                count=sum(counts),
                sum=rng.random(),
            )
            for key, text in _labels(engine)[:attributes]:
                added = point.attributes.add(key=key)
                added.value.string_value = text
            if exemplars:
                point.exemplars.add(as_double=rng.random(), trace_id=rng.randbytes(16))
    return bytes(request.SerializeToString())


def _labels(gpu: int) -> list[tuple[str, str]]:
    return [
        ("hw.id", f"GPU-{gpu:08x}-aaaa-bbbb-cccc-0123456789ab"),
        ("hw.type", "gpu"),
        ("host.name", f"node-{gpu // 8}"),
        ("hw.model", "NVIDIA H200"),
        ("hw.vendor", "NVIDIA"),
        ("hw.driver_version", "580.82.07"),
    ]


def plain(body: bytes) -> tuple[list[str], list[str], list[int], list[float]]:
    """Name, id, time and value of each point."""
    names, ids, times, values = [], [], [], []
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                name = metric.name
                for point in metric.gauge.data_points:
                    for attribute in point.attributes:
                        if attribute.key == "hw.id":
                            ids.append(attribute.value.string_value)
                            break
                    names.append(name)
                    times.append(point.time_unix_nano)
                    values.append(point.as_double)
    return names, ids, times, values


def plain_latencies(body: bytes) -> tuple[list[object], ...]:
    """Name, id, time, count, sum and counts of the buckets of each histogram."""
    found: tuple[list[object], ...] = ([], [], [], [], [], [])
    names, ids, times, counts, sums, buckets = found
    for resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                name = metric.name
                for point in metric.histogram.data_points:
                    for attribute in point.attributes:
                        if attribute.key == "hw.id":
                            ids.append(attribute.value.string_value)
                            break
                    names.append(name)
                    times.append(point.time_unix_nano)
                    counts.append(point.count)
                    sums.append(point.sum)
                    buckets.append(list(point.bucket_counts))
    return found


def measure(shape: str, attributes: int) -> Figure:
    """Both sides in turns over messages that differ."""
    points = {"node": 320, "latency": HISTOGRAMS, "latency-new": HISTOGRAMS}.get(shape, POINTS)
    bodies = [
        latencies(attributes=attributes, seed=seed, exemplars=shape == "latency-new")
        if points == HISTOGRAMS
        else message(attributes=attributes, seed=seed, mixed=shape == "mixed", points=points)
        for seed in range(ROUNDS + 4)
    ]
    walked: Callable[[bytes], object] = plain_latencies if points == HISTOGRAMS else plain
    decoder = Decoder()
    for body in bodies[-4:]:
        decoder.decode(body)
    ours, theirs = iter(bodies), iter(bodies)

    def arrow() -> object:
        found = (Decoder() if shape == "cold" else decoder).decode(next(ours))
        if isinstance(found.histograms, HistogramColumns):
            return histograms_to_arrow(found.histograms)
        return to_arrow(found)

    plain_s, ours_s = best_s(lambda: walked(next(theirs)), arrow)
    return Figure(
        shape, attributes, points, len(bodies[0]), points / plain_s / 1e6, points / ours_s / 1e6
    )


def best_s(*ways: Callable[[], object]) -> Iterator[float]:
    """CPU seconds of each way's fastest round; the ways take turns."""
    spans: list[list[float]] = [[] for _ in ways]
    for _ in range(ROUNDS):
        for way, taken in zip(ways, spans, strict=True):
            begin = time.process_time()
            way()
            taken.append(time.process_time() - begin)
    return (min(taken) for taken in spans)


def main() -> None:
    """Measure, print, save."""
    figures = [measure(shape, n) for shape in SHAPES for n in (2, 6)]
    print(f"{'message':<12}{'attributes':>11}{'bytes':>10}{'walk M/s':>10}{'ours M/s':>10}  faster")
    for f in figures:
        print(
            f"{f.shape:<12}{f.attributes:>11}{f.bytes:>10}{f.walk_m_per_s:>10.2f}"
            f"{f.ours_m_per_s:>10.2f}  {f.times:.1f}"
        )
    document = {
        **described("otlp"),
        "rounds": ROUNDS,
        "unit": "million points a CPU second, best round",
        "figures": [asdict(f) | {"times": f.times} for f in figures],
    }
    RESULT.write_text(json.dumps(document, indent=1) + "\n")


if __name__ == "__main__":
    main()
