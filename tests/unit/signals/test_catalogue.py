"""The catalogue knows every name that we have met, and says the same about it in every spelling."""

import csv
from pathlib import Path

import pytest

from collectors.ebpf.counts import COUNTED, ENQUEUES, LEVELS
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import How, NameState, Part, Shape

NAMES = Path(__file__).parents[2] / "data" / "names" / "metric_names.csv"


def met_names() -> list[tuple[str, str]]:
    """Every metric name of the recordings, the sample pages and the exporters' own lists."""
    with NAMES.open() as file:
        return [(row["origin"], row["name"]) for row in csv.DictReader(file)]


def test_every_name_that_we_have_met_is_mapped_or_left_out_with_a_reason() -> None:
    unknown = [
        (origin, name)
        for origin, name in met_names()
        if (known := catalogue().name(name)).state is NameState.UNKNOWN
        or (known.state is NameState.IGNORED and not known.reason)
    ]
    assert unknown == []


def test_every_gpu_figure_of_the_recordings_is_mapped() -> None:
    """The H200 recordings carry nothing that the platform could afford to overlook."""
    left_out = {
        name
        for origin, name in met_names()
        if origin == "recordings-gpu" and catalogue().name(name).state is not NameState.MAPPED
    }
    assert left_out == set()


def test_old_and_new_dcgm_names_lead_to_the_same_signal() -> None:
    pairs = {
        "DCGM_FI_DEV_GPU_TEMP": "DCGM_FI_DEV_GPU_TEMP_CELSIUS",
        "DCGM_FI_DEV_POWER_USAGE": "DCGM_FI_DEV_BOARD_POWER_WATTS",
        "DCGM_FI_DEV_XID_ERRORS": "DCGM_FI_DEV_XID_ERROR",
        "DCGM_FI_PROF_SM_ACTIVE": "DCGM_FI_PROF_SM_UTIL_RATIO",
    }
    for old, new in pairs.items():
        signals = [[s.signal.name for s in catalogue().name(n).sources] for n in (old, new)]
        assert signals[0] == signals[1] != []


@pytest.mark.parametrize(
    ("name", "scale", "unit"),
    [
        ("DCGM_FI_DEV_FB_USED", 1_048_576.0, "By"),  # MiB
        ("DCGM_FI_DEV_GPU_UTIL", 0.01, "1"),  # percent
        ("DCGM_FI_PROF_SM_ACTIVE", 1.0, "1"),  # a ratio already
        ("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", 0.001, "J"),  # mJ
        ("DCGM_FI_DEV_POWER_VIOLATION", 1e-9, "s"),  # ns
        ("DCGM_FI_PROF_NVLINK_TX_BYTES", 1.0, "By/s"),
        ("nvml.gpm.2", 0.01, "1"),  # percent
        ("nvml.gpm.20", 1_048_576.0, "By/s"),  # MiB/s
    ],
)
def test_units_are_brought_to_the_signals_own(name: str, scale: float, unit: str) -> None:
    (source,) = catalogue().name(name).sources
    assert (source.scale, source.signal.unit) == (scale, unit)


def test_parts_of_a_histogram_are_read_as_parts() -> None:
    bucket = catalogue().name("vllm:time_to_first_token_seconds_bucket")
    quantile = catalogue().name("vllm:time_to_first_token_seconds")

    assert (bucket.base, bucket.part) == ("vllm:time_to_first_token_seconds", Part.BUCKET)
    assert {s.how for s in bucket.sources} >= {How.HISTOGRAM_P50, How.HISTOGRAM_P95}
    assert {s.how for s in quantile.sources} == {How.VALUE}


def test_a_name_that_ends_like_a_part_is_still_a_name() -> None:
    """`..._count` of DCGM is a metric of its own, not the count of a histogram."""
    assert catalogue().name("DCGM_EXP_XID_ERRORS_COUNT").part is Part.VALUE
    assert catalogue().name("vllm:generation_tokens_total").part is Part.VALUE


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ({"finished_reason": "stop"}, {"engine.requests_done", "engine.success_share"}),
        ({"finished_reason": "abort"}, {"engine.requests_done", "engine.requests_aborted"}),
        ({}, {"engine.requests_done", "engine.success_share"}),
    ],
)
def test_label_rules_choose_the_signals(labels: dict[str, str], expected: set[str]) -> None:
    sources = catalogue().name("vllm:request_success_total").sources
    assert {s.signal.name for s in sources if s.takes(labels)} == expected


@pytest.mark.parametrize(
    ("labels", "foreign"), [({"pod": ""}, True), ({}, True), ({"pod": "engine-0"}, False)]
)
def test_a_process_without_a_pod_is_foreign(labels: dict[str, str], foreign: bool) -> None:
    sources = catalogue().name("gpu_process_memory_bytes").sources
    taken = {s.signal.name for s in sources if s.takes(labels)}
    assert ("gpu.memory_foreign" in taken) is foreign
    assert ("gpu.memory_pods" in taken) is not foreign


def test_an_unheard_name_is_unknown_and_not_an_error() -> None:
    assert catalogue().name("no_such_metric_total").state is NameState.UNKNOWN


def test_asking_for_a_signal_that_does_not_exist_says_so() -> None:
    with pytest.raises(BadInput, match=r"gpu\.telepathy"):
        catalogue().signal("gpu.telepathy")


def test_every_signal_is_named_after_its_entity_and_can_be_reached() -> None:
    """Figures of scrapes, golden prompts and kernel programs are the collectors' own; every other
    signal has at least one source."""
    scraped = ("engine.scrape_", "node.scrape_", "node.gpu_scrape_")
    own = {stem + name for stem in scraped for name in ("up", "time", "age", "unchanged")}
    own |= {"engine.canary_ok", "engine.canary_time"}
    own |= {"engine.golden_distance", "engine.golden_checked", "engine.golden_missed"}
    counted = {*COUNTED.values(), *LEVELS, ENQUEUES, "stalls", "stall_oldest"}
    own |= {stem + name for stem in ("gpu.", "node.gpu_") for name in counted}
    own |= {"node.ebpf_available", "node.ebpf_lost", "node.tcp_retransmits", "node.gpus_found"}
    own |= {"node.agent_cpu_time", "node.agent_memory", "node.spool_records", "node.spool_bytes"}
    own |= {"node.spool_oldest_age", "node.spool_drained", "node.spool_dropped"}
    for signal in catalogue().signals.values():
        assert signal.name.split(".")[0] == signal.entity.value
        assert (signal.partition is not None) == (signal.entity is EntityKind.GPU)
        assert catalogue().sources_of(signal.name) or signal.name in own, signal.name


def test_latencies_are_expected_only_when_something_happens() -> None:
    assert catalogue().signal("engine.ttft_p95").period_s == 0
    assert catalogue().signal("engine.requests_running").period_s > 0
    assert catalogue().signal("engine.generation_tokens").shape is Shape.COUNTER
    assert catalogue().signal("engine.probe_status").witness is Witness.PROBE
