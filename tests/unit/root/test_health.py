"""The health pages say what is wrong in words, and the figures say how far each fold has come."""

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest
from prometheus_client import CollectorRegistry

from fleetmend.clock import ManualClock
from fleetmend.errors import SettingsError, StreamError
from fleetmend.health import FlowMetrics, HealthPages, ServiceMetrics
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Event, EventType
from fleetmend.model.ticks import Mark
from fleetmend.services import Service, ServiceThreads
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.port import Outgoing
from fleetmend.streams.producer import Producer
from fleetmend.streams.runner import StageRunner
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters, MemorySnapshots
from tests.unit.root.conftest import START_S
from tests.unit.streams.toy import ToyStage


@pytest.fixture
def runner(log: SqliteLog, clock: ManualClock) -> StageRunner:
    return StageRunner(
        ToyStage(),
        log,
        output=Topic.FINDINGS,
        snapshots=MemorySnapshots(),
        dead_letters=MemoryDeadLetters(),
        clock=clock,
        ticks=TickSettings(),
    )


def figures(metrics: FlowMetrics) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(metrics)
    return registry


def feed(log: SqliteLog, topic: Topic, *payloads: Event | Mark) -> None:
    log.append([Outgoing(topic, "", payload, 0) for payload in payloads])


def test_a_fold_shows_what_came_late_and_its_lag_grows_while_it_stands_still(
    log: SqliteLog, clock: ManualClock, runner: StageRunner
) -> None:
    registry = figures(FlowMetrics(clock, folds={"toy": runner}))
    fold = {"fold": "toy"}
    assert registry.get_sample_value("fleetmend_fold_lag_seconds", fold) is None
    assert registry.get_sample_value("fleetmend_fold_catching_up", fold) == 1
    runner.step()
    for topic in ToyStage.inputs:
        feed(log, topic, Mark("p", START_S), Mark("p", START_S + 2))
    early = Event("e", "s", EventType.CHANGE, START_S - 5, EntityId("lab/node/n"))
    feed(log, Topic.EVENTS, early, Mark("p", START_S + 4))
    for topic in ToyStage.inputs:
        feed(log, topic, Mark("p", START_S + 4))
    clock.sleep(4.5)
    while runner.step():
        pass

    lag_s = registry.get_sample_value("fleetmend_fold_lag_seconds", fold)
    clock.sleep(60.0)

    assert registry.get_sample_value("fleetmend_fold_late_total", fold) == 1
    assert registry.get_sample_value("fleetmend_fold_catching_up", fold) == 0
    assert lag_s == 0.5
    assert registry.get_sample_value("fleetmend_fold_lag_seconds", fold) == 60.5


def test_what_a_producer_gave_up_is_shown_by_topic(log: SqliteLog, clock: ManualClock) -> None:
    producer = Producer(log, name="collector/kmsg", clock=clock)
    registry = figures(FlowMetrics(clock, producers=[producer]))
    producer.events([Event("e", "s", EventType.CHANGE, float("nan"), EntityId("lab/node/n"))])

    dropped = {
        topic: registry.get_sample_value(
            "fleetmend_producer_dropped_total", {"producer": "collector/kmsg", "topic": topic}
        )
        for topic in ("samples", "events", "topology")
    }
    assert dropped == {"samples": 0, "events": 1, "topology": 0}


class TestPages:
    @pytest.fixture
    def service(self) -> Service:
        return Service("detection", lambda: 0)

    @pytest.fixture
    def pages(self, clock: ManualClock, service: Service) -> Iterator[HealthPages]:
        threads = ServiceThreads([service], clock)
        service.health.stepped_at_s = clock.now_s()
        registry = CollectorRegistry()
        registry.register(ServiceMetrics(threads))
        pages = HealthPages("127.0.0.1", 0, unready=threads.unready, registry=registry)
        yield pages
        pages.close()

    def get(self, pages: HealthPages, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{pages.port}{path}", timeout=10) as page:
                return page.status, page.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()

    def test_a_port_in_use_names_the_setting(self, pages: HealthPages) -> None:
        with pytest.raises(SettingsError, match="in use") as caught:
            HealthPages("127.0.0.1", pages.port, unready=list, registry=CollectorRegistry())

        assert caught.value.where == "health.port"

    def test_a_process_that_lives_says_so_whatever_its_services_do(
        self, pages: HealthPages, service: Service
    ) -> None:
        service.health.failing = "broken"
        assert self.get(pages, "/healthz") == (200, "ok\n")

    def test_readiness_names_the_service_and_its_error(
        self, pages: HealthPages, service: Service
    ) -> None:
        assert self.get(pages, "/readyz") == (200, "ready\n")
        service.health.failing = str(StreamError("no answer", where="broker:9092"))
        assert self.get(pages, "/readyz") == (503, "detection: broker:9092: no answer\n")

    def test_figures_are_read_when_the_page_is_asked_for(
        self, pages: HealthPages, service: Service
    ) -> None:
        service.health.failures = 3
        status, text = self.get(pages, "/metrics?x=1")
        assert status == 200
        assert 'fleetmend_service_failures_total{service="detection"} 3.0' in text

    def test_there_is_nothing_else(self, pages: HealthPages) -> None:
        assert self.get(pages, "/")[0] == 404
