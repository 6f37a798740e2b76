"""The golden samples of the real pages are pinned from our own run; here they are worked out again.

Another road: prometheus_client reads the page, and the units come from a table made for this test
out of the exporters' own help texts, not from the catalogue.
"""

import csv
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

DATA = Path(__file__).parents[2] / "data"
MIB, PERCENT, MILLI = 1024 * 1024, 1 / 100, 1 / 1000

BOARD = {
    "gpu.sm_clock": ("DCGM_FI_DEV_SM_CLOCK", 1),  # MHz
    "gpu.memory_clock": ("DCGM_FI_DEV_MEM_CLOCK", 1),
    "gpu.memory_temperature": ("DCGM_FI_DEV_MEMORY_TEMP", 1),  # degrees Celsius
    "gpu.temperature": ("DCGM_FI_DEV_GPU_TEMP", 1),
    "gpu.power": ("DCGM_FI_DEV_POWER_USAGE", 1),  # W
    "gpu.energy": ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", MILLI),  # mJ
    "gpu.pcie_tx": ("DCGM_FI_PROF_PCIE_TX_BYTES", 1),
    "gpu.pcie_rx": ("DCGM_FI_PROF_PCIE_RX_BYTES", 1),
    "gpu.pcie_replays": ("DCGM_FI_DEV_PCIE_REPLAY_COUNTER", 1),
    "gpu.utilization": ("DCGM_FI_DEV_GPU_UTIL", PERCENT),
    "gpu.memory_busy": ("DCGM_FI_DEV_MEM_COPY_UTIL", PERCENT),
    "gpu.encoder_busy": ("DCGM_FI_DEV_ENC_UTIL", PERCENT),
    "gpu.decoder_busy": ("DCGM_FI_DEV_DEC_UTIL", PERCENT),
    "gpu.xid_last": ("DCGM_FI_DEV_XID_ERRORS", 1),
    "gpu.remapped_rows_uncorrectable": ("DCGM_FI_DEV_UNCORRECTABLE_REMAPPED_ROWS", 1),
    "gpu.remapped_rows_correctable": ("DCGM_FI_DEV_CORRECTABLE_REMAPPED_ROWS", 1),
    "gpu.row_remap_failed": ("DCGM_FI_DEV_ROW_REMAP_FAILURE", 1),
}
INSTANCE = {
    "gpu.memory_free": ("DCGM_FI_DEV_FB_FREE", MIB),  # MiB
    "gpu.memory_used": ("DCGM_FI_DEV_FB_USED", MIB),
    "gpu.memory_reserved": ("DCGM_FI_DEV_FB_RESERVED", MIB),
    "gpu.engine_active": ("DCGM_FI_PROF_GR_ENGINE_ACTIVE", 1),  # ratios
    "gpu.tensor_active": ("DCGM_FI_PROF_PIPE_TENSOR_ACTIVE", 1),
    "gpu.dram_active": ("DCGM_FI_PROF_DRAM_ACTIVE", 1),
}
ENGINE = {
    "engine.process_virtual_memory": "process_virtual_memory_bytes",
    "engine.process_memory": "process_resident_memory_bytes",
    "engine.process_start": "process_start_time_seconds",
    "engine.process_cpu": "process_cpu_seconds_total",
    "engine.process_fds": "process_open_fds",
    "engine.process_fds_max": "process_max_fds",
    "engine.requests_running": "vllm:num_requests_running",
    "engine.requests_waiting": "vllm:num_requests_waiting",
    "engine.requests_waiting_capacity": "vllm:num_requests_waiting_by_reason reason=capacity",
    "engine.requests_waiting_deferred": "vllm:num_requests_waiting_by_reason reason=deferred",
    "engine.awake": "vllm:engine_sleep_state sleep_state=awake",
    "engine.kv_usage": "vllm:kv_cache_usage_perc",
    "engine.prefix_queries": "vllm:prefix_cache_queries_total",
    "engine.prefix_hits": "vllm:prefix_cache_hits_total",
    "engine.preemptions": "vllm:num_preemptions_total",
    "engine.prompt_tokens": "vllm:prompt_tokens_total",
    "engine.prompt_tokens_cached": "vllm:prompt_tokens_cached_total",
    "engine.generation_tokens": "vllm:generation_tokens_total",
    "engine.requests_done": "vllm:request_success_total",
    "engine.requests_aborted": "vllm:request_success_total finished_reason=abort",
    "engine.requests_failed": "vllm:request_success_total finished_reason=error",
    "engine.requests_rejected": "vllm:admission_rejections_total",
    "engine.iterations": "vllm:iteration_tokens_total_count",
    "engine.requests_first_token": "vllm:time_to_first_token_seconds_count",
    "engine.http_ok": "http_requests_total status=2xx",
}
"""Metric name, and the label that its series must bear; the series are added up."""


def by_peer(page: str) -> list[Sample]:
    """Every sample of a page by prometheus_client, which wants neither the MIG page's stray first
    line nor, to leave the names of counters alone, the comments."""
    lines = (DATA / "pages" / f"{page}.prom").read_text().split("\n")
    plain = [line for line in lines if line and line[0] != "#" and line != "Active 1g.5gb"]
    families = text_string_to_metric_families("\n".join(plain) + "\n")
    return [sample for family in families for sample in family.samples]


def golden(page: str) -> dict[tuple[str, str], float]:
    """Value by entity and signal."""
    with (DATA / "golden" / f"{page}.csv").open() as file:
        return {(row["entity"], row["signal"]): float(row["value"]) for row in csv.DictReader(file)}


@pytest.mark.parametrize("page", ["dcgm-t4", "dcgm-mig", "dcgm-h100"])
def test_golden_samples_of_gpus_follow_from_the_page(page: str) -> None:
    expected = {}
    for sample in by_peer(page):
        uuid, instance = sample.labels["UUID"], sample.labels.get("GPU_I_ID", "")
        for table, entity in ((BOARD, uuid), (INSTANCE, f"{uuid}/{instance}".rstrip("/"))):
            for signal, (name, factor) in table.items():
                if sample.name == name:
                    expected[entity, signal] = sample.value * factor
    assert golden(page) == pytest.approx(expected)


def test_golden_samples_of_an_engine_follow_from_the_page() -> None:
    samples = by_peer("vllm-0.32")
    expected = {}
    for signal, wanted in ENGINE.items():
        name, _, rule = wanted.partition(" ")
        label, _, value = rule.partition("=")
        found = [s.value for s in samples if s.name == name and s.labels.get(label, "") == value]
        assert found, signal
        expected["engine-0", signal] = sum(found)
    assert golden("vllm-0.32") == pytest.approx(expected)
