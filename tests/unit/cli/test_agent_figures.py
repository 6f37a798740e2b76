"""What the agent says of itself: on its page and as samples of its node."""

from collections.abc import Mapping
from pathlib import Path

from prometheus_client import CollectorRegistry

from fleetmend.cli.agent_figures import (
    OTEL_NAMES,
    AgentFigures,
    KernelFigures,
    OwnUse,
    SourceFigures,
    own_rows,
    own_use,
)
from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.signals.catalogue import catalogue
from fleetmend.streams.segments import Amount
from fleetmend.streams.spool import SpoolFigures
from fleetmend.streams.spool_records import Kept

NODE = entity_id("c", EntityKind.NODE, "n1")
DROPPED: Mapping[Kept, int] = {"samples": 7, "events": 1}
BEHIND = SpoolFigures(Amount(12, 3400), 9000, 940.0, Amount(5, 700), DROPPED, 3, "no broker")
EMPTY = SpoolFigures(Amount(), 0, float("inf"), Amount(5, 700), DROPPED, 0, "")


def page(spool: SpoolFigures) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(AgentFigures(ManualClock(1000.0), lambda: spool))
    return registry


def test_the_page_says_how_deep_and_how_old_the_spool_is() -> None:
    registry = page(BEHIND)

    def value(name: str, **labels: str) -> float | None:
        return registry.get_sample_value(f"fleetmend_{name}", labels)

    assert value("spool_records") == 12
    assert value("spool_bytes") == 3400
    assert value("spool_disk_bytes") == 9000
    assert value("spool_oldest_age_seconds") == 60
    assert value("spool_log_away") == 1
    assert value("spool_drained_total") == 5
    assert value("spool_drained_bytes_total") == 700
    assert value("spool_dropped_total", kind="samples") == 7
    assert value("spool_dropped_total", kind="events") == 1
    assert value("spool_torn_bytes_total") == 3
    assert (value("agent_memory_bytes") or 0) > 1e6
    assert (value("agent_cpu_seconds_total") or 0) > 0


def test_the_page_says_which_sources_answer() -> None:
    registry = CollectorRegistry()
    registry.register(SourceFigures(gpus=lambda: 8, programs=lambda: True))

    assert registry.get_sample_value("fleetmend_agent_gpus") == 8
    assert registry.get_sample_value("fleetmend_agent_ebpf_available") == 1


def test_where_nothing_waits_nothing_is_old() -> None:
    assert page(EMPTY).get_sample_value("fleetmend_spool_oldest_age_seconds") == 0
    assert page(EMPTY).get_sample_value("fleetmend_spool_log_away") == 0


def test_the_samples_are_signals_of_the_catalogue() -> None:
    rows = own_rows(1000.0, NODE, OwnUse(1.5, 90_000_000), BEHIND)

    assert {(at_s, entity) for at_s, entity, *_ in rows} == {(1000.0, NODE)}
    assert {signal: value for *_, signal, value in rows} == {
        "node.agent_cpu_time": 1.5,
        "node.agent_memory": 90_000_000,
        "node.spool_records": 12,
        "node.spool_bytes": 3400,
        "node.spool_oldest_age": 60,
        "node.spool_drained": 5,
        "node.spool_dropped": 8,
    }
    assert all(signal in catalogue().signals for *_, signal, _ in rows)


def test_kernel_counts_have_the_names_that_others_know_them_by() -> None:
    """And whoever scrapes the agent gets the agent's own signals back."""
    gpu = entity_id("c", EntityKind.GPU, "GPU-1")
    counted = {(gpu, what): place for place, what in enumerate(OTEL_NAMES)}
    registry = CollectorRegistry()
    registry.register(KernelFigures(lambda: counted | {(NODE, "memory_freed"): 9, (gpu, "x"): 9}))

    told = {what: f"{name}_total" for what, name in OTEL_NAMES.items()}
    assert {
        what: registry.get_sample_value(name, {"UUID": "GPU-1"}) for what, name in told.items()
    } == {what: place for place, what in enumerate(OTEL_NAMES)}
    for what, name in told.items():
        assert [source.signal.name for source in catalogue().name(name).sources] == [f"gpu.{what}"]


def test_memory_is_what_is_resident_or_the_most_that_ever_was(tmp_path: Path) -> None:
    (tmp_path / "statm").write_text("9999 250 100 1 0 200 0\n")

    assert own_use(tmp_path / "statm").memory_bytes % 250 == 0
    assert own_use(tmp_path / "absent").memory_bytes > 1e6
