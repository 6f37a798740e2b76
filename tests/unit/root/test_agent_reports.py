"""What a node's own agent and the OTLP intake tell of their sources says nothing of any page."""

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from collectors.kernel_source import KernelSource
from collectors.nvml.port import NvmlFailure
from collectors.nvml.reports import NvmlReports
from collectors.otlp.intake import Intake
from collectors.xid_desk import XidDesk
from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event
from fleetmend.settings.collectors import CollectorsSettings, KernelLogSettings
from fleetmend.settings.otlp import OtlpSenderSettings, OtlpSettings
from fleetmend.signals.catalogue import catalogue
from tests.unit.collectors.otlp.test_intake import Letters, Sink
from tests.unit.detection.play import GPU, NODE, Life, Play, Rows, fleet

NODE_NAME = "node-0"


def driver_events(failure: NvmlFailure | None, times: int) -> list[Event]:
    reports = NvmlReports(cluster="c", node=NODE_NAME, report_s=1.0)
    return [e for t in range(times) for e in reports.driver(failure, "why", 0, 2.0 * t)]


def partial_events(times: int) -> list[Event]:
    reports = NvmlReports(cluster="c", node=NODE_NAME, report_s=1.0)
    failed = {"nvmlDeviceGetGpmSupport": NvmlFailure.FAILED}
    return [e for t in range(times) for e in reports.gpu("GPU-0", None, failed, (), 2.0 * t)]


class Impatient(ManualClock):
    """Lets a source try once and no more."""

    def wait(self, event: threading.Event, timeout_s: float) -> bool:
        event.set()
        return True


def kernel_events(times: int, folder: Path) -> list[Event]:
    """Each restart of an agent tells of its unreadable log once more."""
    sink = Sink()
    for restart in range(times):
        clock = Impatient(10.0 * restart)
        KernelSource(
            KernelLogSettings(node=NODE_NAME, path=str(folder / "none" / "kmsg")),
            cluster="c",
            sink=sink,
            desk=XidDesk(
                cluster="c",
                node=NODE_NAME,
                hold_s=0.1,
                per_minute_max=10,
                sink=sink,
                clock=clock,
            ),
            clock=clock,
            per_minute_max=10,
        ).run(threading.Event())
    return sink.events


def refused_events(times: int) -> list[Event]:
    sender = OtlpSenderSettings(
        name="s",
        speaks_for="node",
        node=NODE_NAME,
        token_file="unread",  # noqa: S106
    )
    sink, clock = Sink(), ManualClock(1000.0)
    intake = Intake(
        CollectorsSettings(otlp=OtlpSettings(senders=(sender,))),
        cluster="c",
        sink=sink,
        clock=clock,
        dead_letters=Letters(),
        signals=catalogue(),
        resolve=lambda _: None,
        node_of=lambda _: None,
    )
    for _ in range(times):
        intake.refuse("s", "unreadable", payload=b"x")
        intake.poll()
        clock.sleep(120.0)
    return sink.events


def played(events: Sequence[Event], gpus: tuple[EntityId, ...] = (GPU,)) -> Play:
    """A healthy node that is read all the time, and these events, one each ten seconds."""
    life, play = Life(gpus=gpus), Play(topology=fleet(gpus=gpus))
    for event in events:
        for second in range(10):
            rows: Rows = life.rows()
            play.feed(rows, events=[event] if second == 5 else [])
    return play


@pytest.mark.parametrize("source", ["partial", "no library", "no kernel log", "refused senders"])
def test_a_node_is_not_accused_of_what_its_agent_lacks(source: str, tmp_path: Path) -> None:
    events = {
        "partial": lambda: partial_events(5),
        "no library": lambda: driver_events(NvmlFailure.LIBRARY_ABSENT, 5),
        "no kernel log": lambda: kernel_events(5, tmp_path),
        "refused senders": lambda: refused_events(5),
    }[source]()
    assert len(events) == 5
    assert {event.subject for event in events} == {NODE}

    play = played(events)

    assert [(f.entity, f.reason) for f in play.findings if f.detector == "coverage"] == []
