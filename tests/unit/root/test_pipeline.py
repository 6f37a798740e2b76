"""The composition root: each role is made of what it should be, and shows its figures."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import SettingsError
from fleetmend.model.ticks import Claim
from fleetmend.pipeline import Parts, Role, services, unique_name
from fleetmend.settings import Settings, load_settings
from fleetmend.sinks import LoggedDeadLetters
from fleetmend.store import Store, StoreDeadLetters
from fleetmend.streams.codec import decode
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from remediation.world import Ports

START_S = 1_800_000_000.0


def unwanted() -> Ports:
    raise AssertionError("nobody needs the outside world here")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    logs = [{"node": "n1", "path": str(tmp_path / "kmsg")}]
    engines = [{"engine": "e1", "node": "n1", "path": str(tmp_path / "e1.log")}]
    replicas = [{"url": "http://127.0.0.1:1", "engine": "e1"}]
    flags = {
        "collectors.probe.replicas": replicas,
        "collectors.probe.golden.path": str(tmp_path / "golden.json"),
        "collectors.targets": [{"url": "http://127.0.0.1:1/metrics", "kind": "gpu", "node": "n1"}],
        "collectors.kernel_logs": logs,
        "collectors.engine_logs": engines,
        "store.url": f"sqlite:///{tmp_path / 'store.db'}",
        "remediation.halt_file": str(tmp_path / "halt.json"),
    }
    return load_settings(flags=flags).settings


@pytest.fixture
def parts(settings: Settings) -> Iterator[Parts]:
    clock = ManualClock(START_S)
    store = Store(settings.store.url, clock, settings=settings.store)
    store.migrate()
    log = SqliteLog(":memory:", clock=clock, partitions=1)
    yield Parts(settings=settings, clock=clock, log=log, store=store, ports=unwanted)
    log.close()
    store.close()


def names(parts: Parts, *roles: Role) -> list[str]:
    return [service.name for service in services(parts, frozenset(roles))]


def test_a_collector_runs_all_that_the_settings_name(parts: Parts) -> None:
    assert names(parts, Role.COLLECTOR) == ["fleet", "prometheus", "probe", "kmsg/n1", "log/e1"]
    assert [producer.name for producer in parts.figures.producers] == [
        "collector/prometheus",
        "collector/probe",
        "collector/kmsg/n1",
        "collector/log/e1",
    ]


def test_stages_come_in_the_order_of_the_flow_and_show_how_far_they_are(parts: Parts) -> None:
    assert names(parts, Role.RCA, Role.DETECTOR) == ["detection", "coverage", "rca"]
    assert list(parts.figures.folds) == ["detection", "rca"]


def test_the_console_by_itself_runs_no_role_of_the_flow(parts: Parts) -> None:
    assert names(parts, Role.CONSOLE) == []


def test_a_stage_claims_its_fold_in_the_name_of_the_process(parts: Parts) -> None:
    detection, _ = services(parts, frozenset({Role.DETECTOR}))
    detection.step()  # type: ignore[union-attr]  # a stage is a Service, not a Loop

    place = parts.log.partitions(Topic.TICKS)[0]
    [claim] = [decode(raw).payload for raw in parts.log.read({place: 0}, limit=10)]
    assert claim == Claim("detection", parts.worker, START_S)


def test_no_two_processes_have_one_name() -> None:
    """Not even two starts of one pod, whose host and process number are the same."""
    assert unique_name() != unique_name()


def test_the_remediator_needs_its_world_and_nobody_else_does(parts: Parts) -> None:
    services(parts, frozenset({Role.COLLECTOR, Role.DETECTOR, Role.RCA}))
    with pytest.raises(AssertionError, match="outside world"):
        services(parts, frozenset({Role.REMEDIATOR}))


class TestWithoutAStore:
    @pytest.fixture
    def bare(self, parts: Parts) -> Parts:
        return Parts(
            settings=parts.settings,
            clock=parts.clock,
            log=parts.log,
            store=None,
            ports=parts.ports,
        )

    def test_a_collector_runs_and_logs_its_dead_letters(self, bare: Parts) -> None:
        assert "prometheus" in names(bare, Role.COLLECTOR)
        assert isinstance(bare.dead_letters(), LoggedDeadLetters)

    @pytest.mark.parametrize("role", [Role.DETECTOR, Role.RCA, Role.REMEDIATOR])
    def test_nobody_else_starts(self, bare: Parts, role: Role) -> None:
        with pytest.raises(SettingsError, match="needs a store"):
            services(bare, frozenset({role}))


def test_with_a_store_dead_letters_go_there(parts: Parts) -> None:
    assert isinstance(parts.dead_letters(), StoreDeadLetters)
