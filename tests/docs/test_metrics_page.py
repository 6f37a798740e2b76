"""docs/operations.md lists every figure of `/metrics`, and none that is not there."""

import re
from collections.abc import Iterator
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from console.metrics import Metrics
from fleetmend.cli.agent_figures import AgentFigures
from fleetmend.clock import ManualClock
from fleetmend.health import FlowMetrics, ServiceMetrics
from fleetmend.services import ServiceThreads
from fleetmend.streams.segments import Amount
from fleetmend.streams.spool import SpoolFigures

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
SPOOL = SpoolFigures(Amount(), 0, float("inf"), Amount(), {"samples": 0, "events": 0}, 0, "")


def shown(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def figures() -> Iterator[Metric]:
    """Of every role."""
    clock, registry = ManualClock(), CollectorRegistry()
    yield from ServiceMetrics(ServiceThreads([], clock)).collect()
    yield from FlowMetrics(clock).collect()
    yield from AgentFigures(clock, lambda: SPOOL).collect()
    Metrics(registry, readers=float, store_ok=float, chain_whole=float)
    yield from registry.collect()


def test_every_figure_is_in_the_table_and_the_table_has_no_other() -> None:
    section = PAGE.partition("## Figures")[2].partition("\n## ")[0]
    listed = set(re.findall(r"`(fleetmend_[a-z_]+)`", section))

    assert listed == {shown(metric) for metric in figures()}
