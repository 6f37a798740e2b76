"""What people ask of an engine or a node comes from every make's page, the whole way."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.collectors.test_bad_pages import ENGINE, NODE, Pages, values
from tests.unit.collectors.test_engines import sglang, tensorrt, triton

VLLM = (Path(__file__).parents[2] / "data" / "pages" / "vllm-0.32.prom").read_text()
ASKED = {
    "engine.token_rate",
    "engine.prompt_token_rate",
    "engine.success_share",
    "engine.requests_waiting",
    "engine.prefix_hit_share",
}
"""Token rate, success rate, queue, KV hit rate."""
SCRAPED = {"engine.scrape_up", "engine.scrape_time", "engine.scrape_age", "engine.scrape_unchanged"}


def vllm(times: int) -> str:
    """The real page some scrapes later: all that counts has gone on."""

    def moved(line: re.Match[str]) -> str:
        if "_created" in line[1] or "start_time" in line[1]:
            return line[0]
        return f"{line[1]} {float(line[2]) + times}"

    return re.sub(r"^([a-z][^ ]*) ([0-9.e+]+)$", moved, VLLM, flags=re.MULTILINE)


def sglang_with_times(times: int) -> str:
    """Newer versions tell the time per token of each request as well."""
    rows = {
        'time_to_first_token_seconds_bucket{le="0.1"}': times,
        'time_to_first_token_seconds_bucket{le="+Inf"}': times,
        'request_time_per_output_token_seconds_bucket{le="0.1"}': times,
        'request_time_per_output_token_seconds_bucket{le="+Inf"}': times,
    }
    return sglang(times) + "".join(f"sglang:{name} {value}\n" for name, value in rows.items())


def tensorrt_with_times(times: int) -> str:
    """Buckets of its time per token too."""
    rows = {'bucket{le="0.1"}': times, 'bucket{le="+Inf"}': times}
    stem = "trtllm_time_per_output_token_seconds_"
    return tensorrt(times) + "".join(f"{stem}{name} {value}\n" for name, value in rows.items())


@pytest.mark.parametrize(
    ("page", "asked"),
    [
        (
            vllm,
            ASKED | {"engine.ttft_p50", "engine.ttft_p95", "engine.tpot_p50", "engine.tpot_p95"},
        ),
        (sglang_with_times, ASKED | {"engine.ttft_p50", "engine.tpot_p50"}),
        (tensorrt_with_times, ASKED | {"engine.ttft_p50", "engine.tpot_p50"}),
        # Triton's core counts requests; tokens are the business of the backend behind it.
        (triton, {"engine.success_share", "engine.requests_waiting", "engine.queue_time_mean"}),
    ],
    ids=["vllm", "sglang", "tensorrt-llm", "triton"],
)
def test_every_make_tells_what_people_ask_for(page: Callable[[int], str], asked: set[str]) -> None:
    pages = Pages()
    pages.read(page(1))
    seen = values(pages.read(page(2)))
    assert asked | SCRAPED <= set(seen)
    assert (seen["engine.scrape_up"], seen["engine.scrape_age"]) == (1.0, 0.0)
    assert seen["engine.scrape_unchanged"] == 0.0
    frozen = values(pages.read(page(2)))
    assert (frozen["engine.scrape_up"], frozen["engine.scrape_unchanged"]) == (1.0, 10.0)


def test_the_vllm_page_loses_no_line() -> None:
    """Everything on the real page is known to the catalogue, or left out on purpose."""
    pages = Pages(scrape_event_s=0)
    scrape = pages.read(VLLM)
    assert scrape.event is not None
    told = scrape.event.data
    names = ("unknown", "homeless", "bad_lines", "repeated", "not_finite")
    assert {name: told[name] for name in names} == dict.fromkeys(names, 0)


def node(times: int, *, boot: float = 1000.0, started: float = 2000.0, cpu: int = 0) -> str:
    """A node exporter's page."""
    cpu = cpu or 100 * times
    rows = {
        'node_cpu_seconds_total{cpu="0",mode="idle"}': cpu,
        'node_cpu_seconds_total{cpu="0",mode="user"}': cpu * 3,
        "node_pressure_cpu_waiting_seconds_total": 2.5 * times,
        "node_pressure_memory_waiting_seconds_total": 0.0,
        "node_pressure_io_waiting_seconds_total": 5.0 * times,
        'node_network_receive_bytes_total{device="eth0"}': 1e6 * times,
        'node_network_receive_bytes_total{device="eth1"}': 1e6 * times,
        'node_network_receive_bytes_total{device="lo"}': 9e9 * times,
        'node_network_receive_bytes_total{device="veth1a2b"}': 9e9 * times,
        'node_network_transmit_bytes_total{device="eth0"}': 3e6 * times,
        "node_boot_time_seconds": boot,
        "process_start_time_seconds": started,
    }
    return "".join(f"{name} {value}\n" for name, value in rows.items())


def test_a_node_tells_shares_and_rates_between_two_scrapes() -> None:
    pages = Pages(NODE)
    assert "node.network_receive_rate" not in values(pages.read(node(1)))
    seen = values(pages.read(node(2)))
    expected = {
        "node.cpu_busy": 0.75,
        "node.pressure_cpu": 0.25,
        "node.pressure_memory": 0.0,
        "node.pressure_io": 0.5,
        "node.network_receive_rate": 2e5,
        "node.network_transmit_rate": 3e5,
        "node.boot_time": 1000.0,
        "node.scrape_up": 1.0,
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected)


GROWTH = {"node.cpu_busy", "node.pressure_cpu", "node.network_receive_rate"}


def test_a_counter_that_fell_gives_no_share_of_its_own_and_others_go_on() -> None:
    pages = Pages(NODE)
    pages.read(node(1))
    seen = set(values(pages.read(node(2, cpu=1))))
    assert GROWTH - seen == {"node.cpu_busy"}
    assert set(values(pages.read(node(3, cpu=50)))) >= GROWTH


@pytest.mark.parametrize("again", [{"boot": 5000.0}, {"started": 5001.0}])
def test_a_reboot_that_counted_past_its_past_is_still_a_reboot(again: dict[str, float]) -> None:
    """Busy counters are soon where they were; the time of the start tells."""
    pages = Pages(NODE)
    pages.read(node(1))
    pages.read(node(2))
    assert not GROWTH & set(values(pages.read(node(5, **again))))  # type: ignore[arg-type]
    assert set(values(pages.read(node(6, **again)))) >= GROWTH  # type: ignore[arg-type]


def test_an_engines_older_names_lead_to_the_same_signals() -> None:
    """Version by version as its metrics were renamed, vLLM tells the same things."""
    old = {
        "vllm:gpu_cache_usage_perc": "vllm:kv_cache_usage_perc",
        "vllm:gpu_prefix_cache_queries_total": "vllm:prefix_cache_queries_total",
        "vllm:gpu_prefix_cache_hits_total": "vllm:prefix_cache_hits_total",
    }
    told: list[set[str]] = []
    for names in (list(old), list(old.values())):
        pages = Pages(ENGINE)
        for times in (1, 2):
            scrape = pages.read("".join(f"{n} {times * (3 - k)}\n" for k, n in enumerate(names)))
        told.append({name for name in values(scrape) if "scrape" not in name})
    assert told[0] == told[1]
    assert {"engine.kv_usage", "engine.prefix_hit_share"} <= told[0]
