"""A dead vLLM core leaves its last figures behind HTTP 200: the whole way from a real page to the
ledger, where it is frozen, and not fresh."""

import re
from pathlib import Path

import pytest

from collectors.fetch import Fetched, Outcome
from collectors.target import Target
from detection.stage import DetectionStage
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import EntityKind, TopologyChange, TopologyOp, entity_id
from fleetmend.model.findings import Finding, FindingState
from fleetmend.settings.collectors import CollectorsSettings, TargetSettings
from fleetmend.settings.detection import DetectionSettings
from fleetmend.settings.streams import TickSettings
from fleetmend.signals.catalogue import catalogue
from fleetmend.streams.port import Record, TickInput
from fleetmend.streams.topics import Topic

ENGINE = entity_id("c", EntityKind.ENGINE, "e-1")
PAGE = (Path(__file__).parents[2] / "data" / "pages" / "vllm-0.32.prom").read_text()
BEGIN_S = 1_700_000_000.0
WARM_S = 45


def page(second: int, *, running: int) -> str:
    """The page of a core that works: with requests in hand its counters and gauges move."""
    busy = second if running else 0
    changed = {
        "vllm:num_requests_running": running,
        "vllm:num_requests_waiting": 0,
        "vllm:kv_cache_usage_perc": 0.1 + busy % 7 / 100 if running else 0.0,
        "vllm:generation_tokens_total": 14498 + 500 * busy,
        "vllm:prompt_tokens_total": 7552 + 900 * busy,
    }
    text = PAGE
    for name, value in changed.items():
        text = re.sub(rf"(?m)^({name}\{{[^}}]*\}}) \S+$", rf"\1 {value}", text)
    return text


class Way:
    """One engine's page, scraped each second, into detection."""

    def __init__(self) -> None:
        limits = CollectorsSettings()
        settings = TargetSettings(url="http://engine:8000/metrics", kind="engine", engine="e-1")
        self.target = Target(
            settings, limits, cluster="c", catalogue=catalogue(), resolve=lambda _: None
        )
        changed = {"forest_calm_s": 1e9}
        self.stage = DetectionStage(DetectionSettings.model_validate(changed), TickSettings())
        self.second = 0
        self.entry: Coverage | None = None
        self.open: dict[str, Finding] = {}

    def read(self, text: str) -> None:
        """One scrape and the tick that it falls into."""
        at_s = BEGIN_S + self.second
        scrape = self.target.read(Fetched(Outcome.OK, text.encode(), status=200), at_s)
        parts: list[tuple[Topic, object]] = [(Topic.SAMPLES, scrape.batch)]
        if scrape.event is not None:
            parts.append((Topic.EVENTS, scrape.event))
        if not self.second:
            known = TopologyChange(at_s, TopologyOp.ENTITY, ENGINE)
            parts.append((Topic.TOPOLOGY, known))
        records = tuple(
            Record(topic, 0, self.second, payload)  # type: ignore[arg-type]
            for topic, payload in parts
        )
        tick = TickInput(int(at_s), at_s, at_s + 1, at_s + 1.2, records)
        for out in self.stage.fold(tick):
            said = out.payload
            if isinstance(said, Coverage) and said.entity == ENGINE:
                self.entry = said
            if isinstance(said, Finding) and said.detector == "coverage":
                self.open[said.id] = said
        self.second += 1

    @property
    def state(self) -> str:
        """What the ledger says of the engine."""
        return "" if self.entry is None else self.entry.state.value

    @property
    def signals(self) -> dict[Freshness, set[str]]:
        """And of its signals."""
        found = {} if self.entry is None else self.entry.signals
        return {state: set(names) for state, names in found.items()}

    @property
    def reasons(self) -> set[str]:
        """Why coverage complains now."""
        return {f.reason for f in self.open.values() if f.state is not FindingState.CLOSED}


@pytest.fixture
def way() -> Way:
    """One that has seen a core at work."""
    made = Way()
    for second in range(WARM_S):
        made.read(page(second, running=8))
    return made


def test_stale_figures_with_requests_in_hand_are_frozen_and_thaw(way: Way) -> None:
    assert way.state == "fresh"
    assert way.signals[Freshness.FRESH] >= {"engine.kv_usage", "engine.generation_tokens"}
    last = page(WARM_S, running=8)
    for _ in range(20):
        way.read(last)
    assert way.reasons == {"frozen"}
    assert way.state == "frozen"
    assert way.signals.keys() == {Freshness.FROZEN}
    for second in range(WARM_S + 1, WARM_S + 8):
        way.read(page(second, running=8))
    assert way.reasons == set()
    assert way.state == "fresh"


def test_an_idle_core_stands_still_lawfully(way: Way) -> None:
    for second in range(WARM_S, WARM_S + 40):
        way.read(page(second, running=0))
    assert way.reasons == set()


def test_a_page_that_never_moved_much_is_frozen_by_the_scrapers_own_word() -> None:
    """An engine that mostly idles teaches no gauge to move; that its figures stand still while it
    says that it has work in hand is enough, whatever the process in front of the core burns."""
    way = Way()
    for second in range(100):
        way.read(page(second, running=8 if second % 20 == 0 else 0))
    last = page(100, running=8)
    for burnt in range(40):
        way.read(re.sub(r"(?m)^(process_cpu_seconds_total) \S+$", rf"\1 {burnt}", last))
    assert way.reasons == {"frozen"}
