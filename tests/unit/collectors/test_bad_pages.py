"""Pages that say wrong things: the rest of them is still read, and what was wrong has a name."""

import math
import time
import tracemalloc

import pytest

from collectors.exposition import Exposition
from collectors.fetch import Fetched, Outcome
from collectors.target import Scrape, Target
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.settings.collectors import CollectorsSettings, TargetSettings
from fleetmend.signals.catalogue import catalogue

ENGINE = TargetSettings(url="http://e:8000/metrics", kind="engine", engine="e-1", interval_s=10)
NODE = TargetSettings(url="http://n:9100/metrics", kind="node", node="n-1", interval_s=10)
GPU = TargetSettings(url="http://n:9400/metrics", kind="gpu", node="n-1", interval_s=10)


class Pages:
    """One target whose pages the test writes, ten seconds apart."""

    def __init__(self, settings: TargetSettings = ENGINE, **limits: object) -> None:
        self.known: dict[str, EntityId] = {}
        self._target = Target(
            settings,
            CollectorsSettings.model_validate(limits),
            cluster="c",
            catalogue=catalogue(),
            resolve=self.known.get,
        )
        self._at_s = 0.0

    def read(self, text: str) -> Scrape:
        """What the next scrape gives."""
        self._at_s += 10.0
        return self._target.read(Fetched(Outcome.OK, text.encode(), status=200), self._at_s)


def values(scrape: Scrape) -> dict[str, float]:
    """Value by signal."""
    batch = scrape.batch
    pairs = zip(batch.signal.tolist(), batch.value.tolist(), strict=True)
    return {batch.signals[code]: value for code, value in pairs}


def data(scrape: Scrape) -> dict[str, str | int | float | bool]:
    """What the scrape's event tells."""
    assert scrape.event is not None
    return scrape.event.data


@pytest.mark.parametrize("number", ["9223372036854775807", "1.8446744073709552e+19", "-9.3e18"])
@pytest.mark.parametrize(
    ("line", "signal"),
    [
        ("vllm:num_requests_running", "engine.requests_running"),
        ("vllm:generation_tokens_total", "engine.token_rate"),
        ('vllm:time_to_first_token_seconds_bucket{le="1.0"}', "engine.ttft_p50"),
    ],
)
def test_a_number_that_stands_for_none_gives_no_sample_and_is_counted(
    line: str, signal: str, number: str
) -> None:
    pages = Pages(scrape_event_s=0)
    pages.read(f"{line} 5\nvllm:num_requests_waiting 1\n")
    scrape = pages.read(f"{line} {number}\nvllm:num_requests_waiting 2\n")
    assert signal not in values(scrape)
    assert values(scrape)["engine.requests_waiting"] == 2
    assert data(scrape)["blank"] == 1


@pytest.mark.parametrize("number", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_number_is_counted_wherever_it_leads(number: str) -> None:
    pages = Pages(scrape_event_s=0)
    page = "vllm:num_requests_running {0}\nvllm:generation_tokens_total {0}\n"
    pages.read(page.format(5))
    scrape = pages.read(page.format(number))
    assert data(scrape)["not_finite"] == 2
    assert all(math.isfinite(value) for value in scrape.batch.value.tolist())


def test_the_huge_number_of_one_scrape_is_in_no_rate_of_the_next() -> None:
    pages = Pages()
    for number in ("100", "9223372036854775807", "200"):
        scrape = pages.read(f"vllm:generation_tokens_total {number}\n")
        assert "engine.token_rate" not in values(scrape)
    assert values(pages.read("vllm:generation_tokens_total 300\n"))["engine.token_rate"] == 10


@pytest.mark.parametrize(
    "again",
    [
        'vllm:generation_tokens_total{engine="0",model_name="m"} 999',
        'vllm:generation_tokens_total{model_name="m",engine="0"} 999',
        'vllm:generation_tokens_total{ engine = "0", model_name="m"} 999',
    ],
)
def test_a_repeated_series_counts_once_however_it_is_spelled(again: str) -> None:
    line = 'vllm:generation_tokens_total{engine="0",model_name="m"}'
    pages = Pages(scrape_event_s=0)
    pages.read(f"{line} 100\n{again}\n")
    scrape = pages.read(f"{line} 200\n{again}9\n")
    assert values(scrape)["engine.token_rate"] == 10
    assert data(scrape)["repeated"] == 1


def test_growth_begins_anew_where_a_metric_is_another_type_than_before() -> None:
    pages = Pages()
    page = "# TYPE vllm:generation_tokens {0}\nvllm:generation_tokens_total {1}\nother 1\n"
    pages.read(page.format("counter", 100))
    changed = pages.read(page.format("gauge", 200))
    assert "engine.token_rate" not in values(changed)
    told = data(changed)
    assert (told["retyped"], told["retyped_names"]) == (1, "vllm:generation_tokens")
    assert "engine.token_rate" not in values(pages.read(page.format("gauge", 300)))
    assert values(pages.read(page.format("gauge", 400)))["engine.token_rate"] == 10


def test_a_metric_in_another_unit_is_left_out_until_it_is_what_it_was() -> None:
    pages = Pages(scrape_event_s=0)
    page = "# UNIT vllm:num_requests_running {0}\nvllm:num_requests_running 5\n"
    rest = "vllm:num_requests_waiting 1\n"
    assert values(pages.read(page.format("requests") + rest))["engine.requests_running"] == 5
    for _ in range(2):
        scrape = pages.read(page.format("kilorequests") + rest)
        assert "engine.requests_running" not in values(scrape)
        assert values(scrape)["engine.requests_waiting"] == 1
        assert data(scrape)["other_unit_names"] == "vllm:num_requests_running"
    assert values(pages.read(page.format("requests") + rest))["engine.requests_running"] == 5


def test_a_type_that_is_said_for_the_first_time_changes_nothing() -> None:
    pages = Pages()
    pages.read("vllm:generation_tokens_total 100\n")
    page = "# TYPE vllm:generation_tokens_total counter\nvllm:generation_tokens_total 200\n"
    assert values(pages.read(page))["engine.token_rate"] == 10


def test_a_pod_that_becomes_known_as_an_engine_is_found_within_a_minute() -> None:
    pages = Pages(GPU)
    page = 'DCGM_FI_DEV_SM_CLOCK{UUID="GPU-1",namespace="llm",pod="p"} 1980\n'

    def tenants() -> set[str]:
        return {change.entity for change in pages.read(page).changes if change.target}

    assert "c/pod/llm/p" in tenants()
    engine = entity_id("c", EntityKind.ENGINE, "uid-1")
    pages.known["pod:llm/p"] = engine
    assert engine in {entity for _ in range(7) for entity in tenants()}


def test_a_flood_of_odd_lines_is_read_in_bounded_time() -> None:
    """prometheus_client is asked about some of them only; the good ones count all the same."""
    text = "".join(f'{{"odd {n}",x="y"}} 1\n' for n in range(50_000)) + "good 1\n"
    begin_s = time.thread_time()
    page = Exposition().parse(text)
    assert time.thread_time() - begin_s < 5.0
    assert page.bad_count == 49_800
    assert len(page.bad) == 100
    assert len(page.reading.series) == 201


@pytest.mark.parametrize("line", ["\n", "# x\n", "ab\n", "a 1\n", "é" * 3 + "\n"])
def test_a_page_of_millions_of_lines_fills_no_memory(line: str) -> None:
    text = line * (8_000_000 // len(line))
    tracemalloc.start()
    page = Exposition(series_max=10_000).parse(text)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 4 * len(text)
    assert len(page.reading.series) <= 10_000
    assert page.refused > 0


def test_one_endless_line_is_kept_in_part() -> None:
    page = Exposition().parse("x" * 5_000_000)
    assert [len(bad.text) for bad in page.bad] == [4096]
