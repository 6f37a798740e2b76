"""GPU nodes as the platform's collectors meet them: a metrics page for each, and a kernel log.

The pages have the shape of dcgm-exporter's for H100 (`tests/data/pages/dcgm-h100.prom`), with
values that move gently; a GPU that is lost vanishes from its node's page.
"""

import math
import re
import threading
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from fleetmend.clock import SystemClock

PAGE = Path(__file__).parents[1] / "data" / "pages" / "dcgm-h100.prom"
GPUS = 8
_SERIES = re.compile(r"(?P<name>\w+)\{(?P<labels>[^}]*)\} (?P<value>\S+)")
_MOVING = re.compile(r"SM_CLOCK|TEMP|POWER|PCIE_.X_BYTES|_UTIL$|_ACTIVE$")
_ENERGY = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
_WATTS = 412.0


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU of one node."""

    node: str
    index: int
    uuid: str

    @property
    def bus(self) -> str:
        """Its PCI address as the kernel log writes it."""
        return f"0000:{0x18 + 0x10 * self.index:02x}:00"


class GpuNodes:
    """Nodes of eight GPUs; a context manager that serves `<url>/<node>/metrics`."""

    def __init__(self, names: Sequence[str], folder: Path) -> None:
        """`folder` holds the kernel logs."""
        self.names = tuple(names)
        self.gpus = [
            Gpu(name, index, f"GPU-{uuid.uuid4()}") for name in names for index in range(GPUS)
        ]
        self._folder = folder
        self._templates = {gpu.uuid: _series_of(gpu) for gpu in self.gpus}
        self._lost: set[str] = set()
        self._sequence = 0
        self._clock = SystemClock()
        self._lock = threading.Lock()
        self.served = dict.fromkeys(names, 0)
        """How often each node's page was served."""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler_of(self))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        for name in names:
            self.kernel_log(name).touch()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def kernel_log(self, node: str) -> Path:
        """The file that stands for the node's /dev/kmsg."""
        return self._folder / f"{node}.kmsg"

    def lose(self, gpu: Gpu) -> float:
        """The GPU falls off the bus: the driver says so and its series vanish. Returns when the
        line was written, Unix seconds."""
        with self._lock:
            self._lost.add(gpu.uuid)
        return self.say_lost(gpu)

    def say_lost(self, gpu: Gpu) -> float:
        """Only the driver's line. Returns when it was written, Unix seconds."""
        return self.print(
            gpu.node,
            f"NVRM: Xid (PCI:{gpu.bus}): 79, pid='<unknown>', name=<unknown>, "
            "GPU has fallen off the bus.",
        )

    def bring_back(self, gpu: Gpu) -> None:
        """The GPU answers again."""
        with self._lock:
            self._lost.discard(gpu.uuid)

    def print(self, node: str, text: str) -> float:
        """The kernel prints a line: facility 0, severity error. Returns when."""
        self._sequence += 1
        since_us = int(float(Path("/proc/uptime").read_text().split()[0]) * 1e6)
        with self.kernel_log(node).open("a") as log:
            now_s = self._clock.now_s()
            log.write(f"3,{self._sequence},{since_us},-;{text}\n")
        return now_s

    def page(self, node: str) -> bytes:
        """What the node's exporter says now."""
        now_s = self._clock.monotonic_s()
        with self._lock:
            lost = set(self._lost)
            self.served[node] += 1
        lines: list[str] = []
        for gpu in self.gpus:
            if gpu.node == node and gpu.uuid not in lost:
                phase = hash(gpu.uuid) % 100
                for name, prefix, value in self._templates[gpu.uuid]:
                    lines.append(f"{prefix} {_value(name, value, now_s, phase)}")
        return "\n".join(lines).encode() + b"\n"


def _series_of(gpu: Gpu) -> list[tuple[str, str, float]]:
    """Name, series and value as in the page, for this GPU and without a pod."""
    labels = {
        "gpu": str(gpu.index),
        "UUID": gpu.uuid,
        "pci_bus_id": f"0000{gpu.bus.upper()}.0",
        "device": f"nvidia{gpu.index}",
        "modelName": "NVIDIA H100 80GB HBM3",
        "Hostname": gpu.node,
        "DCGM_FI_DRIVER_VERSION": "570.124.06",
    }
    written = ",".join(f'{name}="{value}"' for name, value in labels.items())
    found = [_SERIES.fullmatch(line) for line in PAGE.read_text().splitlines()]
    return [
        (match["name"], f"{match['name']}{{{written}}}", float(match["value"]))
        for match in found
        if match is not None
    ]


def _value(name: str, value: float, now_s: float, phase: int) -> float:
    if name == _ENERGY:
        return round(value + _WATTS * 1000 * now_s)
    if _MOVING.search(name):
        return value * (1 + 0.01 * math.sin(now_s * 1.7 + phase))
    return value


def _handler_of(nodes: GpuNodes) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            node = self.path.strip("/").partition("/")[0]
            body = nodes.page(node) if node in nodes.served else b""
            self.send_response(200 if body else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """A scrape a second is no news."""

    return Handler
