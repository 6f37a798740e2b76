"""docs/operations.md lists every figure that /metrics shows, and no other."""

import re
from dataclasses import fields
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric

from console.metrics import Metrics
from fleetmend.cli.agent_figures import AgentFigures, SourceFigures
from fleetmend.clock import ManualClock
from fleetmend.health import FOLD_COUNTERS, FlowMetrics, ServiceMetrics
from fleetmend.services import ServiceThreads
from fleetmend.streams.fold_run import RunnerStats
from fleetmend.streams.segments import Amount
from fleetmend.streams.spool import SpoolFigures

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()


def shown() -> set[str]:
    registry, clock = CollectorRegistry(), ManualClock()
    registry.register(ServiceMetrics(ServiceThreads([], clock)))
    registry.register(FlowMetrics(clock))
    spool = SpoolFigures(Amount(), 0, 0.0, Amount(), {"samples": 0, "events": 0}, 0, "")
    registry.register(AgentFigures(clock, lambda: spool))
    registry.register(SourceFigures(lambda: 0, lambda: False))
    Metrics(registry, readers=float, store_ok=float, chain_whole=float)
    return {_name(metric) for metric in registry.collect()}


def _name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_every_figure_is_explained_and_no_other() -> None:
    rows = re.findall(r"^\| ((?:`fleetmend_[a-z_]+`(?:, )?)+) \|", PAGE, re.MULTILINE)
    explained = [name for row in rows for name in re.findall(r"`(\w+)`", row)]

    assert sorted(explained) == sorted(shown())


def test_every_counter_of_a_fold_is_a_figure() -> None:
    assert set(FOLD_COUNTERS) == {field.name for field in fields(RunnerStats)}
