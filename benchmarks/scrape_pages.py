"""Pages for the scraping benchmark: real samples at 40 KB, with values that move at every scrape.

A third each of vLLM, DCGM (eight GPUs) and a node exporter. Everything that tells one target from
another stands in the page as `@@NODE@@`, which whoever serves it replaces.
"""

import re
from pathlib import Path

PAGES = Path(__file__).parents[1] / "tests" / "data" / "pages"
BYTES = 40_000
VERSIONS = 16
"""Pages of each kind, with counters that go on from one to the next."""
NODE = "@@NODE@@"
_CONSTANT = re.compile(r"_info|_created|start_time|_config|boot_time")
_SAMPLE = re.compile(r"(.*) ([0-9.eE+-]+)")


def versions(kind: str) -> list[bytes]:
    """The pages of one kind (`engine`, `gpu`, `node`), one after the other in time."""
    page = {"engine": _vllm, "gpu": _dcgm, "node": _node_exporter}[kind]()
    return [_later(page, step).encode() for step in range(VERSIONS)]


def _later(page: str, step: int) -> str:
    """The page some scrapes later: every value that is not a constant has moved."""
    return "\n".join(_moved(line, step) for line in page.split("\n"))


def _moved(line: str, step: int) -> str:
    match = _SAMPLE.fullmatch(line)
    if match is None or line[0] == "#" or _CONSTANT.search(line):
        return line
    value = float(match[2])
    # A share stays a share; everything else counts on, buckets and their sums alike.
    moved = value + 0.001 * step if 0 < value < 1 else value + step
    return f"{match[1]} {moved!r}"


def _cut(text: str) -> str:
    """Whole families up to the size that is wanted."""
    kept, size = [], 0
    for family in re.split(r"(?=^# HELP )", text, flags=re.MULTILINE):
        kept.append(family)
        size += len(family)
        if size >= BYTES:
            break
    return "".join(kept)


def _vllm() -> str:
    return _cut((PAGES / "vllm-0.32.prom").read_text())


def _dcgm() -> str:
    lines = []
    for line in (PAGES / "dcgm-h100.prom").read_text().split("\n"):
        if line.startswith("#") or not line:
            lines.append(line)
            continue
        line = re.sub(r'Hostname="[^"]*"', f'Hostname="{NODE}"', line)
        lines += [
            line.replace('gpu="0"', f'gpu="{gpu}"')
            .replace("nvidia0", f"nvidia{gpu}")
            .replace(":3B:00.0", f":{0x1B + 16 * gpu:02X}:00.0")
            .replace("llama-70b-0", f"llama-{NODE}-{gpu}")
            .replace("GPU-604a", f"GPU-{NODE}-{gpu}")
            for gpu in range(8)
        ]
    return _cut("\n".join(lines) + "\n")


def _node_exporter() -> str:
    """As node_exporter 1.9 words it, of a host with 48 cores, 12 interfaces and 12 disks."""
    families = [
        ("node_cpu_seconds_total", "counter", "Seconds the CPUs spent in each mode."),
        ("node_network_receive_bytes_total", "counter", "Network device statistic."),
        ("node_network_transmit_bytes_total", "counter", "Network device statistic."),
        ("node_network_receive_drop_total", "counter", "Network device statistic."),
        ("node_disk_io_time_seconds_total", "counter", "Total seconds spent doing I/Os."),
        ("node_disk_read_bytes_total", "counter", "The total number of bytes read."),
    ]
    modes = ("idle", "iowait", "irq", "nice", "softirq", "steal", "system", "user")
    labels = {
        "node_cpu": [f'cpu="{c}",mode="{m}"' for c in range(48) for m in modes],
        "node_network": [f'device="eth{n}"' for n in range(12)],
        "node_disk": [f'device="nvme{n}n1"' for n in range(12)],
    }
    text = ""
    for name, kind, help_text in families:
        text += f"# HELP {name} {help_text}\n# TYPE {name} {kind}\n"
        own = next(found for start, found in labels.items() if name.startswith(start))
        text += "".join(f"{name}{{{each}}} {100.25 + n}\n" for n, each in enumerate(own))
    singles = {
        "node_memory_MemTotal_bytes": 2_164_000_000_000,
        "node_memory_MemAvailable_bytes": 1_900_000_000_000,
        "node_memory_SwapFree_bytes": 0,
        "node_load1": 12.5,
        "node_load5": 11.5,
        "node_procs_blocked": 1,
        "node_context_switches_total": 1e9,
        "node_vmstat_oom_kill": 0,
        "node_pressure_cpu_waiting_seconds_total": 55.5,
        "node_filefd_allocated": 5000,
        "node_boot_time_seconds": 1_795_000_000,
    }
    for name, value in singles.items():
        kind = "counter" if name.endswith("_total") else "gauge"
        text += f"# HELP {name} {name}.\n# TYPE {name} {kind}\n{name} {value}\n"
    # The rest of such a page speaks of what the catalogue leaves out: file systems, sockets, power.
    others = ("node_filesystem_avail_bytes", "node_sockstat_TCP_alloc", "node_hwmon_temp_celsius")
    rest = 0
    while len(text) < BYTES:
        name = others[rest % len(others)]
        text += f'{name}{{device="/dev/x{rest}",mountpoint="/mnt/{rest}"}} {rest + 1.5}\n'
        rest += 1
    return text
