"""From series to canonical samples: units, identity, windows, and what is dropped and counted."""

import csv
import math
import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.exposition import Exposition
from collectors.naming import Names, pci_address
from collectors.normalise import Normaliser, Observation
from collectors.windows import HistogramState, quantile, window
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, TopologyOp, entity_id
from fleetmend.signals.catalogue import catalogue

DATA = Path(__file__).parents[2] / "data"
ENGINE = entity_id("c", EntityKind.ENGINE, "engine-0")
GPU = entity_id("c", EntityKind.GPU, "GPU-1")
DCGM = 'gpu="0",UUID="GPU-1",Hostname="n1"'


def normaliser(engine: EntityId | None = None) -> Normaliser:
    """One for a page of node n1, or of an engine."""
    return Normaliser(Names(cluster="c", node="n1", engine=engine), catalogue())


def samples(seen: Observation) -> dict[tuple[str, str], float]:
    """Value by (entity key, signal)."""
    batch = seen.batch
    return {
        (batch.entities[e].split("/", 2)[2], batch.signals[s]): v
        for e, s, v in zip(
            batch.entity.tolist(), batch.signal.tolist(), batch.value.tolist(), strict=True
        )
    }


def scrape(pages: list[str], engine: EntityId | None = None) -> list[Observation]:
    """The same target scraped once a second."""
    parser, norm = Exposition(), normaliser(engine)
    return [norm.observe(parser.parse(page).reading, 100.0 + at) for at, page in enumerate(pages)]


@pytest.mark.parametrize("page", ["dcgm-t4", "dcgm-mig", "dcgm-h100", "vllm-0.32"])
def test_a_real_page_gives_the_samples_of_its_golden_file(page: str) -> None:
    text = (DATA / "pages" / f"{page}.prom").read_text()
    (seen,) = scrape([text], ENGINE if page.startswith("vllm") else None)
    with (DATA / "golden" / f"{page}.csv").open() as file:
        golden = {(r["entity"], r["signal"]): float(r["value"]) for r in csv.DictReader(file)}
    assert samples(seen) == pytest.approx(golden)
    assert seen.dropped.unknown == {}


@settings(max_examples=20, deadline=None)
@given(st.randoms(use_true_random=False))
def test_the_order_of_labels_and_lines_never_matters(rng: random.Random) -> None:
    text = (DATA / "pages" / "dcgm-mig.prom").read_text()
    lines = [line for line in text.split("\n") if line.startswith("DCGM")]
    shuffled = []
    for line in lines:
        name, _, rest = line.partition("{")
        block, _, value = rest.rpartition("} ")
        labels = block.split(",")
        rng.shuffle(labels)
        shuffled.append(f"{name}{{{','.join(labels)}}} {value}")
    rng.shuffle(shuffled)
    first, second = scrape(["\n".join(lines)]), scrape(["\n".join(shuffled)])
    assert samples(first[0]) == samples(second[0])
    assert first[0].changes == second[0].changes


@pytest.mark.parametrize(
    "labels",
    [
        'UUID="GPU-1",Hostname="x"',
        'uuid="GPU-1",hostname="x"',
        'gpu_uuid="GPU-1"',
        'hw.id="GPU-1"',
    ],
)
def test_a_gpu_is_found_under_every_spelling_of_its_label(labels: str) -> None:
    name = "DCGM_FI_DEV_SM_CLOCK" if "." not in labels else ""
    line = f"{name}{{{labels}}} 5" if name else '{"hw.gpu.utilization","hw.id"="GPU-1"} 0.5'
    (seen,) = scrape([line])
    assert {entity for entity, _ in samples(seen)} == {"GPU-1"}


def test_a_gpu_without_a_uuid_is_known_by_its_place() -> None:
    (seen,) = scrape(['DCGM_FI_DEV_SM_CLOCK{gpu="3"} 5'])
    assert samples(seen) == {("n1/gpu:3", "gpu.sm_clock"): 5.0}


def test_board_figures_of_a_mig_gpu_belong_to_the_board_and_the_rest_to_the_instance() -> None:
    """The exporter repeats temperature and energy for each instance; they must not add up."""
    page = "".join(
        f'{name}{{UUID="GPU-1",GPU_I_ID="{i}",GPU_I_PROFILE="1g"}} {value}\n'
        for i in (3, 9)
        for name, value in (
            ("DCGM_FI_DEV_GPU_TEMP", 40),
            ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 9000),
            ("DCGM_FI_DEV_FB_USED", i),
        )
    )
    (seen,) = scrape([page])
    assert samples(seen) == {
        ("GPU-1", "gpu.temperature"): 40.0,
        ("GPU-1", "gpu.energy"): 9.0,
        ("GPU-1/3", "gpu.memory_used"): 3 * 1048576.0,
        ("GPU-1/9", "gpu.memory_used"): 9 * 1048576.0,
    }
    instance = entity_id("c", EntityKind.MIG, "GPU-1/9")
    relations = {(c.entity, c.relation, c.target) for c in seen.changes}
    assert (instance, RelationKind.PART_OF, GPU) in relations


def test_an_instance_too_many_does_not_become_its_board() -> None:
    """Nor does the pod in it become the board's tenant."""
    page = "".join(
        f'DCGM_FI_DEV_FB_USED{{UUID="GPU-1",GPU_I_ID="{i}",pod="p{i}"}} {i}\n' for i in range(3)
    )
    norm = Normaliser(Names(cluster="c", node="n1", names_max=2), catalogue())
    seen = norm.observe(Exposition().parse(page).reading, 0.0)
    assert {entity for entity, _ in samples(seen)} == {"GPU-1/0", "GPU-1/1"}
    assert (seen.dropped.homeless, seen.dropped.refused) == (1, {"mig": 1})
    runs = {(c.entity, c.target) for c in seen.changes if c.relation is RelationKind.RUNS_ON}
    assert runs == {(f"c/pod//p{i}", f"c/mig/GPU-1/{i}") for i in range(2)}


@pytest.mark.parametrize(
    "blank",
    ["9223372036854775792", "9223372036854775794", "2147483632", "2147483635", "140737488355329"],
)
def test_the_huge_numbers_that_mean_no_value_are_dropped_and_counted(blank: str) -> None:
    (seen,) = scrape([f"DCGM_FI_DEV_MEMORY_TEMP{{{DCGM}}} {blank}\n"])
    assert (samples(seen), seen.dropped.blank) == ({}, 1)


def test_a_huge_number_of_another_source_is_a_number() -> None:
    (seen,) = scrape(["vllm:prompt_tokens_total 2147483633\n"], ENGINE)
    assert samples(seen)["engine-0", "engine.prompt_tokens"] == 2147483633.0


@pytest.mark.parametrize("odd", ["NaN", "+Inf", "-Inf"])
def test_what_is_no_measurement_is_dropped_and_counted(odd: str) -> None:
    (seen,) = scrape([f"DCGM_FI_DEV_GPU_TEMP{{{DCGM}}} {odd}\n"])
    assert (samples(seen), seen.dropped.not_finite) == ({}, 1)


def test_part_of_a_sum_is_no_sum() -> None:
    page = 'vllm:prompt_tokens_total{engine="0"} 5\nvllm:prompt_tokens_total{engine="1"} NaN\n'
    (seen,) = scrape([page], ENGINE)
    assert samples(seen) == {}


def test_ranks_of_one_engine_are_added_up_and_the_fullest_cache_counts() -> None:
    page = "".join(
        f'vllm:num_requests_running{{engine="{i}"}} {2 + i}\n'
        f'vllm:kv_cache_usage_perc{{engine="{i}"}} {0.3 + i / 10}\n'
        for i in range(2)
    )
    (seen,) = scrape([page], ENGINE)
    assert samples(seen) == {
        ("engine-0", "engine.requests_running"): 5.0,
        ("engine-0", "engine.kv_usage"): 0.4,
    }


def histogram(counts: list[int], total: float) -> str:
    """A page with vLLM's TTFT histogram; buckets up to 0.1, 1 and infinity."""
    name = "vllm:time_to_first_token_seconds"
    lines = [
        f'{name}_bucket{{le="{le}"}} {count}'
        for le, count in zip(("0.1", "1.0", "+Inf"), counts, strict=True)
    ]
    return "\n".join([*lines, f"{name}_sum {total}", f"{name}_count {counts[-1]}", ""])


def test_a_histogram_gives_the_quantiles_of_what_came_between_two_scrapes() -> None:
    pages = [histogram([10, 10, 10], 1.0), histogram([10, 20, 20], 6.0)]
    first, second = (samples(seen) for seen in scrape(pages, ENGINE))
    assert first == {("engine-0", "engine.requests_first_token"): 10.0}
    assert second == pytest.approx(
        {
            ("engine-0", "engine.requests_first_token"): 20.0,
            ("engine-0", "engine.ttft_p50"): 0.55,
            ("engine-0", "engine.ttft_p95"): 0.955,
            ("engine-0", "engine.ttft_mean"): 0.5,
        }
    )


def test_a_restart_of_the_engine_gives_no_latencies_until_there_is_a_new_base() -> None:
    pages = [
        histogram([10, 10, 10], 1.0),
        histogram([3, 4, 4], 0.5),
        histogram([5, 6, 6], 0.7),
    ]
    seen = [samples(s) for s in scrape(pages, ENGINE)]
    assert ("engine-0", "engine.ttft_p50") not in seen[1]
    assert seen[2]["engine-0", "engine.ttft_p50"] == pytest.approx(0.05)
    assert seen[2]["engine-0", "engine.ttft_mean"] == pytest.approx(0.1)


def test_a_window_without_requests_says_nothing_about_latency() -> None:
    pages = [histogram([10, 10, 10], 1.0)] * 2
    assert set(samples(scrape(pages, ENGINE)[1])) == {("engine-0", "engine.requests_first_token")}


def test_quantile_samples_are_taken_as_they_are() -> None:
    page = 'vllm:time_to_first_token_seconds{quantile="0.95"} 0.7\n'
    (seen,) = scrape([page], ENGINE)
    assert samples(seen) == {("engine-0", "engine.ttft_p95"): 0.7}


def test_cpu_seconds_become_shares_between_two_scrapes() -> None:
    def page(idle: float, user: float) -> str:
        return "".join(
            f'node_cpu_seconds_total{{cpu="{cpu}",mode="{mode}"}} {value}\n'
            for cpu in range(2)
            for mode, value in (("idle", idle), ("user", user), ("system", 0.0))
        )

    first, second = scrape([page(10, 5), page(10.6, 5.4)])
    assert samples(first) == {}
    assert samples(second) == pytest.approx(
        {("n1", "node.cpu_busy"): 0.4, ("n1", "node.cpu_user"): 0.4, ("n1", "node.cpu_system"): 0.0}
    )


def test_idle_percent_becomes_busy() -> None:
    (seen,) = scrape(['node_cpu_percent{mode="idle"} 87\nnode_cpu_percent{mode="user"} 9\n'])
    assert samples(seen) == pytest.approx(
        {("n1", "node.cpu_busy"): 0.13, ("n1", "node.cpu_user"): 0.09}
    )


def test_processes_are_summed_by_whether_they_belong_to_a_pod() -> None:
    """Without any process a GPU has 0 of them, but only where the source names processes."""
    board = f"DCGM_FI_DEV_SM_CLOCK{{{DCGM}}} 5\n"
    own = f'gpu_process_memory_bytes{{{DCGM},pid="1",pod="engine-0"}} 100\n'
    stranger = "".join(
        f'gpu_process_memory_bytes{{{DCGM},pid="{pid}",pod=""}} {pid}\n' for pid in (20, 30)
    )
    silent, both, none = scrape([board, board + own + stranger, board])
    assert samples(silent) == {("GPU-1", "gpu.sm_clock"): 5.0}
    assert samples(both) == {
        ("GPU-1", "gpu.sm_clock"): 5.0,
        ("GPU-1", "gpu.memory_pods"): 100.0,
        ("GPU-1", "gpu.memory_foreign"): 50.0,
        ("GPU-1", "gpu.processes_pods"): 1.0,
        ("GPU-1", "gpu.processes_foreign"): 2.0,
    }
    assert samples(none)["GPU-1", "gpu.memory_foreign"] == 0.0
    assert samples(none)["GPU-1", "gpu.processes_pods"] == 0.0


def test_a_reading_without_the_gpu_itself_says_nothing_about_its_processes() -> None:
    own = f'gpu_process_memory_bytes{{{DCGM},pid="1",pod="e"}} 100\n'
    rank = 'tp_step_seconds{UUID="GPU-1",pod="e",rank="0"} 0.5\n'
    seen = scrape([own, rank])
    assert samples(seen[1]) == {("GPU-1", "gpu.step_time"): 0.5}


def test_unknown_names_and_ownerless_series_are_counted() -> None:
    page = 'nobody_knows_me 1\nnobody_knows_me{a="b"} 2\nprocess_open_fds 7\npython_info 1\n'
    (seen,) = scrape([page])
    assert samples(seen) == {}
    assert dict(seen.dropped.unknown) == {"nobody_knows_me": 2}
    assert seen.dropped.homeless == 1  # the exporter's own process is nobody's engine


def test_a_sample_whose_own_time_is_long_past_is_dropped() -> None:
    parser, norm = Exposition(), normaliser()
    page = f"DCGM_FI_DEV_GPU_TEMP{{{DCGM}}} 40 1000000\n"
    fresh = norm.observe(parser.parse(page).reading, 1005.0)
    stale = norm.observe(parser.parse(page).reading, 1065.0)
    assert samples(fresh) == {("GPU-1", "gpu.temperature"): 40.0}
    assert fresh.batch.time_s.tolist() == [1005.0]  # marks promise the scrape's time
    assert (samples(stale), stale.dropped.stale) == ({}, 1)


def test_who_runs_on_a_gpu_is_stated_once_and_taken_back_when_the_pod_leaves() -> None:
    def page(pod: str) -> str:
        return f'DCGM_FI_DEV_SM_CLOCK{{{DCGM},namespace="llm",pod="{pod}"}} 5\n'

    parser = Exposition()
    norm = Normaliser(
        Names(cluster="c", node="n1", resolve={"pod:llm/a-0": ENGINE}.get), catalogue()
    )
    seen = [
        norm.observe(parser.parse(page(pod)).reading, at)
        for at, pod in enumerate(["a-0", "a-0", "job-1", ""])
    ]
    runs = [
        [(c.op, c.entity) for c in s.changes if c.relation is RelationKind.RUNS_ON] for s in seen
    ]
    job = entity_id("c", EntityKind.POD, "llm/job-1")
    assert runs == [
        [(TopologyOp.RELATION, ENGINE)],
        [],
        [(TopologyOp.RELATION_GONE, ENGINE), (TopologyOp.RELATION, job)],
        [(TopologyOp.RELATION_GONE, job)],
    ]


def test_an_engine_that_becomes_known_later_takes_its_pods_place() -> None:
    """The exporter often names a pod before the cluster's API has said what it is."""
    line = f'DCGM_FI_DEV_SM_CLOCK{{{DCGM},namespace="llm",pod="a-0"}} 5\n'
    known: dict[str, EntityId] = {}
    parser = Exposition()
    norm = Normaliser(Names(cluster="c", node="n1", resolve=known.get), catalogue())
    first = norm.observe(parser.parse(line).reading, 0.0)
    known["pod:llm/a-0"] = ENGINE
    later = [norm.observe(parser.parse(line).reading, at) for at in (1.0, 61.0)]
    pod = entity_id("c", EntityKind.POD, "llm/a-0")
    assert pod in {c.entity for c in first.changes}
    assert [[(c.op, c.entity) for c in seen.changes] for seen in later] == [
        [],
        [(TopologyOp.RELATION_GONE, pod), (TopologyOp.RELATION, ENGINE)],
    ]


def test_the_pci_address_of_the_page_is_the_one_of_the_kernel_log() -> None:
    (seen,) = scrape([f'DCGM_FI_DEV_SM_CLOCK{{{DCGM},pci_bus_id="00000000:3B:00.0"}} 5\n'])
    aliases = {c.target: c.entity for c in seen.changes if c.op is TopologyOp.ALIAS}
    assert aliases == {"n1/gpu:0": GPU, "n1/pci:0000:3b:00": GPU}
    for spelling in ("0000:3B:00", "3b:00.0", "0000:3b:00.0", "00000000:3B:00.0"):
        assert pci_address(spelling) == "0000:3b:00"
    assert pci_address("3b:00:zz") == ""


COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=6)


@settings(max_examples=60, deadline=None)
@given(COUNTS, st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts: list[int], rank: float) -> None:
    bounds = np.array([float(i + 1) for i in range(len(counts))])
    cumulative = np.cumsum(np.array(counts, np.float64))
    if cumulative[-1] == 0:
        return
    value = quantile(rank, bounds, cumulative)
    at = int(np.searchsorted(cumulative, rank * cumulative[-1]))
    assert at <= value <= at + 1


def test_a_window_over_other_buckets_says_nothing() -> None:
    before = HistogramState(np.array([1.0, math.inf]), np.array([1.0, 2.0]), 2.0, 1.0)
    after = HistogramState(np.array([2.0, math.inf]), np.array([1.0, 3.0]), 3.0, 2.0)
    assert math.isnan(window(before, after).p50)
