"""What reading GPUs costs, call by call: `benchmarks.agent` measures it on the stand-in driver, and
`benchmarks.h200` on a real one. Each answer can be kept, one JSON object a line, for the tests that
play them back (`tests/contract/agent/test_recorded.py`)."""

import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, median
from typing import Any, TextIO

from collectors.nvml.collector import NvmlCollector
from collectors.nvml.library import NvmlLibrary
from collectors.nvml.port import Answer, DriverXid, Gpu, GpuReader, NvmlError
from collectors.nvml.rates import CALLS, Rate
from collectors.pods import Pods
from fleetmend.clock import SystemClock
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.agent import NvmlSettings, PodsSettings
from fleetmend.streams.codec import encode


class ManyFromOne:
    """A `GpuReader` that shows one real GPU as several: each has a reader, and so samples, of its
    own, and all of them ask the same board. What a driver keeps for each board is then shared, so
    figures lie below those of as many boards, as calls made once a second lie above them: what a
    reader touches is still in the processor's cache from the GPU before."""

    def __init__(self, readers: Sequence[NvmlLibrary]) -> None:
        """`readers`: one for each GPU to show."""
        self._readers = readers
        self._real: dict[str, tuple[NvmlLibrary, Gpu]] = {}

    def start(self) -> str:
        return next(iter([reader.start() for reader in self._readers]))

    def gpus(self) -> tuple[Gpu, ...]:
        shown = []
        for index, reader in enumerate(self._readers):
            real = reader.gpus()[0]
            gpu = replace(real, index=index, uuid=f"{real.uuid}-{index}")
            self._real[gpu.uuid] = reader, real
            shown.append(gpu)
        return tuple(shown)

    def call(self, gpu: Gpu, name: str) -> Answer:
        reader, real = self._real[gpu.uuid]
        return reader.call(real, name)

    def wait_xid(self, timeout_s: float) -> DriverXid | None:
        return self._readers[0].wait_xid(timeout_s)

    def close(self) -> None:
        for reader in self._readers:
            reader.close()


class Measured:
    """A `GpuReader` that times each call, and keeps what it gave where a file is given."""

    def __init__(self, reader: GpuReader, record: TextIO | None) -> None:
        self.cpu_us: dict[str, list[float]] = defaultdict(list)
        self.wall_us: dict[str, list[float]] = defaultdict(list)
        self.failures: dict[str, str] = {}
        self._reader = reader
        self._record = record

    def start(self) -> str:
        version = self._reader.start()
        self._keep({"call": "start", "version": version})
        return version

    def gpus(self) -> tuple[Gpu, ...]:
        found = self._reader.gpus()
        self._keep({"call": "gpus", "gpus": [asdict(gpu) for gpu in found]})
        return found

    def call(self, gpu: Gpu, name: str) -> Answer:
        cpu, wall = time.thread_time_ns(), time.perf_counter_ns()
        try:
            answer = self._reader.call(gpu, name)
        except NvmlError as error:
            self.failures[name] = error.failure.value
            self._keep({"call": name, "gpu": gpu.uuid, "error": error.failure.value})
            raise
        finally:
            self.cpu_us[name].append((time.thread_time_ns() - cpu) / 1e3)
            self.wall_us[name].append((time.perf_counter_ns() - wall) / 1e3)
        self.failures |= {part: why.value for part, why in answer.failed.items()}
        self._keep({"call": name, "gpu": gpu.uuid} | asdict(answer))
        return answer

    def wait_xid(self, timeout_s: float) -> DriverXid | None:
        return self._reader.wait_xid(timeout_s)

    def close(self) -> None:
        self._reader.close()

    def _keep(self, record: dict[str, Any]) -> None:
        if self._record is not None:
            self._record.write(json.dumps({"at_s": time.time()} | record) + "\n")


@dataclass(slots=True)
class Taken:
    """A sink that encodes as the log would, and counts."""

    rows: int = 0
    encoded_bytes: int = 0
    events: int = 0
    changes: int = 0

    def samples(self, batch: SampleBatch, node: str) -> None:
        self.rows += len(batch)
        self.encoded_bytes += len(encode(batch).value)

    def event(self, event: Event) -> None:
        self.encoded_bytes += len(encode(event).value)
        self.events += 1

    def topology(self, change: TopologyChange) -> None:
        self.changes += 1

    def mark(self, at_s: float) -> None:
        return


def every_s() -> dict[Rate, float]:
    """Seconds between two calls of each rate, at the defaults."""
    settings = NvmlSettings()
    return {
        Rate.FAST: settings.period_s,
        Rate.PROCESSES: settings.processes_s,
        Rate.SLOW: settings.slow_s,
        Rate.DEAR: settings.dear_s,
        Rate.STATIC: settings.static_s,
        Rate.RARE: settings.rare_s,
    }


def measure(reader: GpuReader, seconds: int, record: TextIO | None) -> dict[str, Any]:
    """Read for so many seconds at the default rates. Means leave out each GPU's first call,
    where there are more."""
    clock, taken, measured = SystemClock(), Taken(), Measured(reader, record)
    gpus: list[Gpu] = []
    collector = NvmlCollector(
        NvmlSettings(),
        cluster="benchmark",
        node="node",
        reader=measured,
        pods=Pods(PodsSettings(socket=""), clock=clock),
        sink=taken,
        clock=clock,
        learn=lambda found: gpus.extend(gpu for gpu in found if gpu not in gpus),
    )
    collector.poll()  # inventory, plans and the first of everything
    began_cpu, began_s = time.process_time(), time.monotonic()
    for second in range(1, seconds + 1):
        time.sleep(max(0.0, began_s + second - time.monotonic()))
        collector.poll()
    wall_s, cpu_s = time.monotonic() - began_s, time.process_time() - began_cpu
    count = max(1, len(gpus))
    share = cpu_s / wall_s
    rates_us = {
        rate.value: round(
            sum(median(measured.cpu_us[name]) for name in CALLS[rate] if measured.cpu_us[name])
            / period_s,
            1,
        )
        for rate, period_s in every_s().items()
    }
    reading = sum(sum(times) for times in measured.cpu_us.values()) / 1e6
    later = {name: times[count:] or times for name, times in measured.cpu_us.items()}
    return {
        "driver": collector._driver,
        "gpus": len(gpus),
        "model": gpus[0].model if gpus else "",
        "seconds": seconds,
        "cpu_share_of_core": round(share, 5),
        "cpu_us_per_gpu_second": round(cpu_s / wall_s / count * 1e6, 1),
        "in_calls_us_per_gpu_second": round(reading / (seconds + 1) / count * 1e6, 1),
        "by_rate_us_per_gpu_second": rates_us | {"sum": round(sum(rates_us.values()), 1)},
        "rows_per_gpu_second": round(taken.rows / count / (seconds + 1), 1),
        "bytes_per_gpu_second": round(taken.encoded_bytes / count / (seconds + 1), 1),
        "calls": {
            name: {
                "count": len(measured.cpu_us[name]),
                "cpu_us_p50": round(median(measured.cpu_us[name]), 1),
                "cpu_us_mean": round(fmean(later[name]), 1),
                "wall_us_p50": round(median(measured.wall_us[name]), 1),
                "wall_us_max": round(max(measured.wall_us[name]), 1),
            }
            for names in CALLS.values()
            for name in names
            if measured.cpu_us[name]
        },
        "not_answered": dict(sorted(measured.failures.items())),
    }
