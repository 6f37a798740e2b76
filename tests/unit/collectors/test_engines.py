"""Engines of every make and age give the same signals, and growth is told only of one life."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.exposition import Exposition
from collectors.naming import Names
from collectors.normalise import Normaliser
from collectors.windows import HistogramState, grown, quotient, window
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.signals.catalogue import catalogue

ENGINE = entity_id("c", EntityKind.ENGINE, "e")


class Engine:
    """One engine's page, read every ten seconds."""

    def __init__(self) -> None:
        self._parser = Exposition()
        self._normaliser = Normaliser(Names(cluster="c", node="n", engine=ENGINE), catalogue())
        self._at_s = 0.0

    def read(self, page: str) -> dict[str, float]:
        """Value by signal."""
        self._at_s += 10.0
        batch = self._normaliser.observe(self._parser.parse(page).reading, self._at_s).batch
        return {
            batch.signals[code]: value
            for code, value in zip(batch.signal.tolist(), batch.value.tolist(), strict=True)
        }


def second(*pages: str) -> dict[str, float]:
    """What the last of several readings gives."""
    engine = Engine()
    return [engine.read(page) for page in pages][-1]


def vllm(done: int, *, aborted: int = 0, failed: int = 0, started: float = 5.0) -> str:
    ended = {"stop": done, "length": done, "abort": aborted, "error": failed}
    return f"process_start_time_seconds {started}\n" + "".join(
        f'vllm:request_success_total{{engine="0",finished_reason="{reason}"}} {count}\n'
        for reason, count in ended.items()
    )


def sglang(times: int) -> str:
    rows = {
        "num_running_reqs": 3,
        "num_queue_reqs": 4,
        "token_usage": 0.5,
        'cached_tokens_total{cache_source="device"}': 20 * times,
        'prefill_effective_tokens_total{mode="device_hit"}': 20 * times,
        'prefill_effective_tokens_total{mode="input"}': 60 * times,
        'generation_tokens_total{is_streaming="True"}': 300 * times,
        'generation_tokens_total{is_streaming="False"}': 100 * times,
        "prompt_tokens_total": 80 * times,
        'queue_time_seconds_bucket{le="0.5"}': 2 * times,
        'queue_time_seconds_bucket{le="+Inf"}': 2 * times,
        "queue_time_seconds_sum": 0.2 * times,
        "queue_time_seconds_count": 2 * times,
        'time_per_output_token_seconds_bucket{le="0.02"}': 4 * times,
        'time_per_output_token_seconds_bucket{le="+Inf"}': 4 * times,
        'http_responses_total{endpoint="/generate",status_code="200"}': 9 * times,
        'http_responses_total{endpoint="/generate",status_code="500"}': times,
        'http_responses_total{endpoint="/generate",status_code="400"}': 5 * times,
    }
    return "".join(f"sglang:{name} {value}\n" for name, value in rows.items())


def tensorrt(times: int) -> str:
    rows = {
        'request_success_total{finished_reason="end_id"}': 3 * times,
        "request_error_total": times,
        "generation_tokens_total": 50 * times,
        "prompt_tokens_total": 10 * times,
        "kv_cache_reused_blocks_total": times,
        "kv_cache_missed_blocks_total": 4 * times,
        "kv_cache_hit_rate": 0.3,
        "num_requests_waiting": 2,
        "request_decode_time_seconds_sum": 6.0 * times,
        "request_decode_time_seconds_count": 4 * times,
        'time_to_first_token_seconds_bucket{le="0.1"}': 8 * times,
        'time_to_first_token_seconds_bucket{le="+Inf"}': 8 * times,
    }
    return "".join(f"trtllm_{name} {value}\n" for name, value in rows.items())


def triton(times: int) -> str:
    model = 'model="llm",version="1"'
    rows = {
        f"request_success{{{model}}}": 8 * times,
        f'request_failure{{{model},reason="BACKEND"}}': times,
        f'request_failure{{{model},reason="REJECTED"}}': times,
        f'request_failure{{{model},reason="CANCELED"}}': 7 * times,
        f"request_duration_us{{{model}}}": 4_000_000 * times,
        f"queue_duration_us{{{model}}}": 800_000 * times,
        f"pending_request_count{{{model}}}": 6,
        f'request_summary_us{{{model},quantile="0.5"}}': 500_000,
    }
    return "".join(f"nv_inference_{name} {value}\n" for name, value in rows.items())


def test_sglang_gives_load_rates_hits_and_times() -> None:
    seen = second(sglang(1), sglang(2))
    expected = {
        "engine.requests_running": 3.0,
        "engine.requests_waiting": 4.0,
        "engine.kv_usage": 0.5,
        "engine.token_rate": 40.0,
        "engine.prompt_token_rate": 8.0,
        "engine.prefix_hit_share": 0.25,
        "engine.prefix_hits": 40.0,
        "engine.prefix_queries": 160.0,
        "engine.prompt_tokens_cached": 40.0,
        "engine.queue_time_p50": 0.25,
        "engine.queue_time_mean": 0.1,
        "engine.itl_p50": 0.01,
        "engine.success_share": 0.9,
        "engine.http_client_errors": 10.0,
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected)


def test_tensorrt_llm_gives_load_rates_hits_and_times() -> None:
    seen = second(tensorrt(1), tensorrt(2))
    expected = {
        "engine.requests_waiting": 2.0,
        "engine.requests_done": 8.0,
        "engine.requests_failed": 2.0,
        "engine.success_share": 0.75,
        "engine.token_rate": 5.0,
        "engine.prompt_token_rate": 1.0,
        "engine.prefix_hit_share": 0.2,
        "engine.prefix_hit_rate": 0.3,
        "engine.decode_time_mean": 1.5,
        "engine.ttft_p50": 0.05,
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected)


def test_triton_gives_load_success_and_times_and_blames_no_client() -> None:
    seen = second(triton(1), triton(2))
    expected = {
        "engine.requests_waiting": 6.0,
        "engine.requests_done": 34.0,
        "engine.requests_failed": 2.0,
        "engine.requests_rejected": 2.0,
        "engine.requests_aborted": 14.0,
        "engine.success_share": 0.8,
        "engine.e2e_mean": 0.5,
        "engine.queue_time_mean": 0.1,
        "engine.e2e_p50": 0.5,
    }
    assert {name: seen[name] for name in expected} == pytest.approx(expected)


def test_requests_that_clients_broke_off_count_neither_way() -> None:
    assert second(vllm(0), vllm(3, aborted=50, failed=2))["engine.success_share"] == 0.75


def test_a_page_with_an_old_and_a_new_name_counts_once() -> None:
    """vLLM 0.10 serves both names of the prefix cache's counters."""
    page = "".join(
        f"vllm:{old}prefix_cache_{name}_total {value}\n"
        for old in ("", "gpu_")
        for name, value in (("queries", 100), ("hits", 40))
    )
    seen = second(page)
    assert (seen["engine.prefix_queries"], seen["engine.prefix_hits"]) == (100.0, 40.0)
    old = second("vllm:gpu_prefix_cache_hits_total 40\nvllm:gpu_prefix_cache_hit_rate 0.4\n")
    assert (old["engine.prefix_hits"], old["engine.prefix_hit_rate"]) == (40.0, 0.4)


def test_a_counter_that_fell_gives_no_rate_and_is_the_base_of_the_next() -> None:
    engine = Engine()
    for total in (500, 600):
        last = engine.read(f"vllm:generation_tokens_total {total}\n")
    assert last["engine.token_rate"] == 10.0
    assert "engine.token_rate" not in engine.read("vllm:generation_tokens_total 50\n")
    assert engine.read("vllm:generation_tokens_total 250\n")["engine.token_rate"] == 20.0


def test_a_restart_that_counted_past_its_past_is_still_a_restart() -> None:
    """Nothing fell, but the process is another one."""
    page = "process_start_time_seconds {}\nvllm:generation_tokens_total {}\n"
    engine = Engine()
    engine.read(page.format(100.0, 40))
    assert engine.read(page.format(100.4, 50))["engine.token_rate"] == 1.0
    assert "engine.token_rate" not in engine.read(page.format(900.0, 5000))
    assert engine.read(page.format(900.0, 5100))["engine.token_rate"] == 10.0


def test_one_rank_that_began_again_does_not_hide_behind_the_others() -> None:
    def page(first: int, other: int) -> str:
        return "".join(
            f'vllm:time_to_first_token_seconds_bucket{{engine="{rank}",le="{le}"}} {count}\n'
            f'vllm:generation_tokens_total{{engine="{rank}"}} {count}\n'
            for rank, count in ((0, first), (1, other))
            for le in ("0.1", "+Inf")
        )

    seen = second(page(100, 100), page(3, 900))
    assert not {"engine.ttft_p50", "engine.token_rate"} & set(seen)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 99), st.integers(-20, 20)), min_size=1, max_size=5))
def test_growth_is_never_negative_and_known_only_while_nothing_fell(
    steps: list[tuple[int, int]],
) -> None:
    before = np.array([float(start) for start, _ in steps])
    now = np.array([float(start + step) for start, step in steps])
    found = grown(before, now)
    if any(step < 0 for _, step in steps):
        assert math.isnan(found)
    else:
        assert found == sum(step for _, step in steps)


def test_a_series_that_is_new_began_at_nothing() -> None:
    assert grown(np.array([5.0]), np.array([6.0, 4.0])) == 5.0
    assert math.isnan(grown(None, np.array([6.0])))


def test_a_share_above_the_whole_is_not_told() -> None:
    assert math.isnan(quotient(3.0, 2.0, limit=1.0))
    assert math.isnan(quotient(0.0, 0.0, limit=1.0))
    assert quotient(3.0, 2.0, limit=math.inf) == 1.5


def test_a_histogram_of_two_series_of_which_one_began_again_says_nothing() -> None:
    bounds = np.array([1.0, math.inf])

    def state(first: float, other: float) -> HistogramState:
        each = np.array([first, other, first, other])
        total = first + other
        return HistogramState(bounds, np.array([total, total]), total, total, each)

    assert math.isnan(window(state(9.0, 9.0), state(1.0, 90.0)).p50)
    assert window(state(9.0, 9.0), state(10.0, 90.0)).p50 == 0.5
