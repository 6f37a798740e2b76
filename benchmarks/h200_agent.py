"""The whole agent on a machine of its own, with a log in a file; `benchmarks.h200` starts it, and
reads afterwards what it told."""

import argparse
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from benchmarks.machine import ROOT
from collectors.nvml.library import NvmlLibrary
from fleetmend.cli.agent import make, run
from fleetmend.cli.agent_memory import stay_small
from fleetmend.clock import SystemClock
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.settings import Settings, load_settings
from fleetmend.streams.codec import decode
from fleetmend.streams.port import RawRecord
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic

NODE = "node-0"
_LOG = "log.db"
_MAIN = """\
from fleetmend.cli.agent_memory import before_imports
before_imports()
from benchmarks.h200_agent import main
main()
"""
"""As the command line does it."""


@dataclass(frozen=True, slots=True)
class Libraries:
    """Other ones than the machine's; empty: the machine's."""

    nvml: str = ""
    libcuda: str = ""


def settings(folder: Path, libraries: Libraries) -> Settings:
    """An agent's defaults, with a log in a file instead of a broker's."""
    flags: dict[str, Any] = {
        "cluster": "h200",
        "streams.path": str(folder / _LOG),
        "agent.node": NODE,
        "agent.spool.path": str(folder / "spool"),
        "agent.nvml.library": libraries.nvml,
    }
    if libraries.libcuda:
        flags["agent.ebpf.libraries"] = [libraries.libcuda]
    return load_settings(flags=flags).settings


def start(folder: Path, libraries: Libraries) -> subprocess.Popen[bytes]:
    """The agent as a process; its words go to `agent.log`."""
    command = [sys.executable, "-c", _MAIN, str(folder)]
    command += ["--nvml", libraries.nvml, "--libcuda", libraries.libcuda]
    with (folder / "agent.log").open("wb") as log:
        return subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log)


def told(folder: Path) -> Iterator[tuple[RawRecord, Event | SampleBatch]]:
    """Events and samples of the agent's log, by topic and in order."""
    log = SqliteLog(str(folder / _LOG), clock=SystemClock(), partitions=4)
    for topic in (Topic.EVENTS, Topic.SAMPLES):
        for place in log.partitions(topic):
            for raw in log.read({place: 0}, limit=1_000_000):
                payload = decode(raw).payload
                if isinstance(payload, Event | SampleBatch):
                    yield raw, payload
    log.close()


def xids(folder: Path) -> list[dict[str, Any]]:
    """Every Xid, who told of it, and how long after the first of them it lay in the log."""
    return [
        {
            "xid": payload.data["xid"],
            "witnesses": payload.data["witnesses"],
            "subject": payload.subject,
            "line": payload.data["line"],
            "event_to_log_ms": round((raw.append_s - payload.time_s) * 1e3, 1),
        }
        for raw, payload in told(folder)
        if isinstance(payload, Event) and payload.type is EventType.XID
    ]


def export(folder: Path, events: TextIO, samples: TextIO) -> dict[str, Any]:
    """Everything that was told, one JSON object a line; which signals there were, with their last
    value."""
    latest: dict[str, float] = {}
    count = 0
    for _, payload in told(folder):
        if isinstance(payload, Event):
            row = {
                "time_s": payload.time_s,
                "type": payload.type.value,
                "subject": payload.subject,
                "data": dict(payload.data),
            }
            events.write(json.dumps(row) + "\n")
            continue
        columns = (payload.time_s, payload.entity, payload.signal, payload.value)
        for at_s, entity, signal_code, value in zip(*(c.tolist() for c in columns), strict=True):
            name = payload.signals[signal_code]
            row = {"time_s": at_s, "entity": payload.entities[entity], "signal": name}
            samples.write(json.dumps(row | {"value": value}) + "\n")
            latest[name] = value
            count += 1
    return {"samples": count, "signals": len(latest), "latest": dict(sorted(latest.items()))}


def main() -> None:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--nvml", default="")
    parser.add_argument("--libcuda", default="")
    given = parser.parse_args()
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    made = settings(given.folder, Libraries(given.nvml, given.libcuda))
    parts = make(made, SystemClock(), reader=NvmlLibrary(given.nvml))
    stay_small()
    run(parts, made, stop)


if __name__ == "__main__":
    main()
