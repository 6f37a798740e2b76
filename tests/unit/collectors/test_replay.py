"""A recording is played as a stream, whatever its maker's habits, and its labels are never read."""

import json
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from collectors.replay import Recording, Step, push
from fleetmend.errors import BadInput
from fleetmend.model.entities import RelationKind, TopologyChange, TopologyOp
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import tick_of
from fleetmend.views.topology import TopologyView

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
GPU = "GPU-cf8daf37-ddce-01b6-79fe-9e7477c494b0"
META: dict[str, Any] = {
    "name": "made",
    "start": 1000.0,
    "hosts": [
        {"name": "a", "gpus": [{"index": 0, "uuid": "GPU-a0", "model": "H200"}]},
        {
            "name": "b",
            "gpus": [{"index": 0, "uuid": "GPU-b0"}, {"index": 1, "uuid": "GPU-b1"}],
        },
    ],
    "engines": [
        {"name": "engine-0", "host": "a", "gpus": ["GPU-a0"]},
        {"name": "engine-1", "host": "b", "gpus": ["b/gpu:0", "GPU-b1"]},
    ],
    "links": [{"kind": "NVLink", "ends": ["GPU-b0", "b/gpu:1"]}],
}

Row = tuple[float, str, dict[str, str] | None, float | None]


def write(
    folder: Path,
    rows: list[Row],
    *,
    meta: dict[str, Any] = META,
    logs: list[dict[str, Any]] | None = None,
) -> Path:
    """A recording with these rows."""
    folder.mkdir(exist_ok=True)
    (folder / "meta.json").write_text(json.dumps(meta))
    columns = {
        "ts": [row[0] for row in rows],
        "metric": [row[1] for row in rows],
        "labels": [None if row[2] is None else json.dumps(row[2]) for row in rows],
        "value": [row[3] for row in rows],
    }
    pq.write_table(pa.table(columns), folder / "metrics.parquet")
    if logs is not None:
        (folder / "logs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in logs))
    return folder


def samples(steps: list[Step]) -> list[tuple[float, str, str, float]]:
    """Every sample, in order."""
    return [
        (at, batch.entities[e], batch.signals[s], v)
        for step in steps
        for _, batch in step.batches
        for at, e, s, v in zip(
            batch.time_s.tolist(),
            batch.entity.tolist(),
            batch.signal.tolist(),
            batch.value.tolist(),
            strict=True,
        )
    ]


def told(steps: list[Step]) -> list[tuple[object, ...]]:
    """All that the steps say, to the last bit."""
    return [
        (
            step.at_s,
            step.topology,
            step.events,
            tuple(
                (
                    node,
                    batch.entities,
                    batch.signals,
                    *(
                        column.tobytes()
                        for column in (batch.time_s, batch.entity, batch.signal, batch.value)
                    ),
                )
                for node, batch in step.batches
            ),
        )
        for step in steps
    ]


def fleet(steps: list[Step]) -> TopologyView:
    """The topology after all steps."""
    view = TopologyView()
    for step in steps:
        for change in step.topology:
            view.apply(change)
    return view


class ListSink:
    """Keeps what it is given, in order."""

    def __init__(self) -> None:
        self.got: list[TopologyChange | Event | SampleBatch | float] = []

    def samples(self, batch: SampleBatch, node: str) -> None:
        assert node
        self.got.append(batch)

    def event(self, event: Event) -> None:
        self.got.append(event)

    def topology(self, change: TopologyChange) -> None:
        self.got.append(change)

    def mark(self, at_s: float) -> None:
        self.got.append(at_s)


@pytest.fixture
def opened_files() -> Iterator[Callable[[], list[str]]]:
    """The paths that Python opens while the test runs."""
    paths: list[str] = []
    watching = True

    def hook(event: str, args: tuple[Any, ...]) -> None:
        if watching and event == "open":
            paths.append(str(args[0]))

    sys.addaudithook(hook)  # it cannot be taken away again, only made deaf
    yield lambda: list(paths)
    watching = False


def test_labels_are_never_opened(tmp_path: Path, opened_files: Callable[[], list[str]]) -> None:
    """With the labels, without them, and with a folder in their place: the same steps."""
    for name in ("with", "without", "odd"):
        shutil.copytree(RECORDINGS / "vllm-worker-killed", tmp_path / name)
    (tmp_path / "without" / "labels.jsonl").unlink()
    (tmp_path / "odd" / "labels.jsonl").unlink()
    (tmp_path / "odd" / "labels.jsonl").mkdir()
    before = len(opened_files())
    played = [told(list(Recording(tmp_path / n).steps())) for n in ("with", "without", "odd")]
    opened = opened_files()[before:]
    assert played[0] == played[1] == played[2]
    assert any(path.endswith("meta.json") for path in opened)  # the watch does see files
    assert not any(path.endswith("labels.jsonl") for path in opened)


def test_a_recording_played_twice_is_the_same_and_a_prefix_of_it_is_a_prefix(
    tmp_path: Path,
) -> None:
    source = RECORDINGS / "h200-single-a"
    recording = Recording(source)
    whole = list(recording.steps())
    assert told(whole) == told(list(recording.steps()))

    cut_s = 1795397390.0  # after the Xid
    shutil.copytree(source, tmp_path / "cut")
    table = pq.read_table(source / "metrics.parquet")
    keep = np.asarray(table.column("ts").to_numpy()) < cut_s
    pq.write_table(table.filter(pa.array(keep)), tmp_path / "cut" / "metrics.parquet")
    prefix = list(Recording(tmp_path / "cut").steps())
    assert len(prefix) == sum(step.at_s <= cut_s for step in whole)
    assert told(prefix) == told(whole[: len(prefix)])


@pytest.mark.parametrize("name", sorted(path.name for path in RECORDINGS.iterdir()))
def test_nothing_is_older_than_the_mark_before_it(name: str) -> None:
    """Marks are promises: a sample on the wrong side would be late for its tick."""
    mark_s = float("-inf")
    for step in Recording(RECORDINGS / name).steps():
        times = [at for _, batch in step.batches for at in batch.time_s.tolist()]
        times += [event.time_s for event in step.events]
        assert all(mark_s <= at < step.at_s for at in times)
        assert step.at_s > mark_s
        mark_s = step.at_s


def test_every_whole_second_is_a_mark_so_that_ticks_close_on_time() -> None:
    marks = [step.at_s for step in Recording(RECORDINGS / "vllm-normal").steps()]
    seconds = {mark for mark in marks if mark == round(mark)}
    assert len(seconds) == tick_of(marks[-1], 1.0) - tick_of(marks[0], 1.0)
    gaps = np.diff(marks)
    assert gaps == pytest.approx(np.full(len(gaps), 0.2), abs=1e-6)


def test_the_gpus_names_are_one_entity() -> None:
    view = fleet(list(Recording(RECORDINGS / "h200-single-a").steps()))
    names = ("gpu:0", "node-0/gpu:0", GPU, "node-0/pci:0000:00:06", f"recording/gpu/{GPU}")
    assert {view.resolve(name) for name in names} == {f"recording/gpu/{GPU}"}
    engine = view.resolve("engine-0")
    assert engine is not None
    assert view.targets(engine, RelationKind.RUNS_ON) == (f"recording/gpu/{GPU}",)
    assert view.attributes[view.resolve("gpu:0")]["power_limit_w"] == "700"  # type: ignore[index]


def test_the_linked_gpus_are_linked_both_ways() -> None:
    view = fleet(list(Recording(RECORDINGS / "h200-tp2-a").steps()))
    one, two = view.resolve("gpu:0"), view.resolve("gpu:1")
    assert one is not None
    assert two is not None
    assert view.targets(one, RelationKind.LINKED_TO) == (two,)
    assert view.targets(two, RelationKind.LINKED_TO) == (one,)


def test_the_xid_is_seen_by_two_witnesses_and_is_about_the_gpu() -> None:
    events = [e for s in Recording(RECORDINGS / "h200-single-a").steps() for e in s.events]
    assert [(e.type, e.data["xid"], e.data["witness"]) for e in events] == [
        (EventType.XID, 31, "driver_event"),
        (EventType.XID, 31, "kernel_log"),
    ]
    assert {e.subject for e in events} == {f"recording/gpu/{GPU}"}
    assert (events[1].data["pid"], events[1].data["process"]) == (1052, "oob")


def test_what_was_measured_reads_as_it_was_measured() -> None:
    """Against the figures that were noted when the faults were made: PCIe saturation moved 25 to
    27 GB/s each way, the calm engine 48 ms a token, a compute neighbour drew 613 W."""
    seen = samples(list(Recording(RECORDINGS / "h200-single-a").steps()))

    def mean(signal: str, begin_s: float, end_s: float) -> float:
        found = [v for at, _, s, v in seen if s == signal and begin_s <= at < end_s]
        return float(np.mean(found))

    saturated = (1795397350.0, 1795397371.0)
    assert mean("gpu.pcie_tx", *saturated) == pytest.approx(26e9, rel=0.15)
    assert mean("gpu.sm_active", *saturated) == pytest.approx(0.24, rel=0.25)
    calm = (1795397040.0, 1795397090.0)
    assert mean("engine.tpot_p50", *calm) == pytest.approx(0.048, rel=0.2)
    assert mean("gpu.utilization", *calm) == pytest.approx(0.21, rel=0.25)
    assert mean("gpu.memory_foreign", *calm) == 0.0
    assert mean("node.cpu_busy", *calm) == pytest.approx(0.13, abs=0.1)
    neighbour = (1795397092.676, 1795397113.177)
    assert mean("gpu.power", *neighbour) == pytest.approx(613, rel=0.1)
    assert mean("gpu.memory_foreign", *neighbour) > 8e8
    assert mean("gpu.processes_foreign", *neighbour) == pytest.approx(0.9, abs=0.1)


def test_no_name_of_the_recordings_is_unknown() -> None:
    for path in RECORDINGS.iterdir():
        assert Recording(path).unknown_names() == frozenset()


def test_samples_of_a_step_come_as_one_batch_a_node(tmp_path: Path) -> None:
    rows: list[Row] = [
        (1000.01, "DCGM_FI_DEV_SM_CLOCK", {"UUID": "GPU-a0"}, 1.0),
        (1000.01, "DCGM_FI_DEV_SM_CLOCK", {"UUID": "GPU-b1", "Hostname": "exporter-x"}, 2.0),
        (1000.11, "vllm:num_requests_running", {"pod": "engine-1"}, 3.0),
        (1000.31, "vllm:num_requests_running", {"pod": "engine-0"}, 4.0),
    ]
    steps = list(Recording(write(tmp_path / "r", rows)).steps())
    assert [[(node, len(batch)) for node, batch in step.batches] for step in steps] == [
        [("a", 1), ("b", 2)],
        [("a", 1)],
    ]
    assert samples(steps)[2] == (
        1000.11,
        "recording/engine/engine-1",
        "engine.requests_running",
        3.0,
    )


def test_a_gpu_an_engine_and_a_node_that_meta_does_not_know_do_not_crash(tmp_path: Path) -> None:
    rows: list[Row] = [
        (1000.0, "DCGM_FI_DEV_SM_CLOCK", {"UUID": "GPU-new", "gpu": "7", "Hostname": "c"}, 1.0),
        (1000.0, "vllm:num_requests_running", {"pod": "engine-9", "Hostname": "c"}, 2.0),
        (1000.0, "nobody_knows_me", {}, 2.0),
        (1000.0, "DCGM_FI_DEV_SM_CLOCK", None, 1.0),
    ]
    recording = Recording(write(tmp_path / "r", rows))
    view = fleet(list(recording.steps()))
    gpu, engine = view.resolve("c/gpu:7"), view.resolve("engine-9")
    assert gpu == "recording/gpu/GPU-new"
    assert engine is not None
    assert view.targets(gpu, RelationKind.PART_OF) == ("recording/node/c",)
    assert view.targets(engine, RelationKind.RUNS_ON) == ("recording/node/c",)
    assert view.targets(engine, RelationKind.MEMBER_OF) == ("recording/pool/recording",)
    assert recording.unknown_names() == {"nobody_knows_me"}


def test_gpu_0_of_two_hosts_is_not_one_name(tmp_path: Path) -> None:
    rows: list[Row] = [(1000.0, "node_load1", {"instance": "a"}, 1.0)]
    view = fleet(list(Recording(write(tmp_path / "r", rows)).steps()))
    assert view.resolve("gpu:0") is None
    assert view.resolve("b/gpu:0") == "recording/gpu/GPU-b0"


@pytest.mark.parametrize("form", ["dictionary", "struct", "map", "unsorted", "shuffled", "extra"])
def test_other_makers_files_are_read(tmp_path: Path, form: str) -> None:
    """Labels as JSON, struct or map; columns in any order; rows in any order; further columns."""
    rows: list[Row] = [
        (1000.0 + at / 10, "DCGM_FI_DEV_SM_CLOCK", {"gpu": "0", "UUID": "GPU-a0"}, float(at))
        for at in range(5)
    ]
    folder = write(tmp_path / "r", rows)
    expected = samples(list(Recording(folder).steps()))
    table = pq.read_table(folder / "metrics.parquet")
    labels = [row[2] for row in rows]
    at = table.schema.get_field_index("labels")
    if form == "dictionary":
        table = table.set_column(at, "labels", table.column("labels").dictionary_encode())
    elif form == "struct":
        table = table.set_column(
            at, "labels", pa.array([{**one, "none": None} for one in labels if one])
        )
    elif form == "map":
        kind = pa.map_(pa.string(), pa.string())
        table = table.set_column(
            at, "labels", pa.array([list(one.items()) for one in labels if one], kind)
        )
    elif form == "unsorted":
        texts = [json.dumps(dict(reversed(one.items()))) for one in labels if one]
        table = table.set_column(at, "labels", pa.array(texts))
    elif form == "shuffled":
        table = table.take([3, 0, 4, 1, 2]).select(["value", "ts", "labels", "metric"])
    else:
        table = table.append_column("comment", pa.array(["x"] * 5))
    pq.write_table(table, folder / "metrics.parquet", row_group_size=2)
    assert samples(list(Recording(folder).steps())) == expected
    assert len(expected) == 5


def test_a_missing_value_is_no_sample(tmp_path: Path) -> None:
    labels = {"UUID": "GPU-a0"}
    rows: list[Row] = [
        (1000.0, "DCGM_FI_DEV_SM_CLOCK", labels, None),
        (1000.0, "DCGM_FI_DEV_GPU_TEMP", labels, float("nan")),
        (1000.0, "DCGM_FI_DEV_POWER_USAGE", labels, 9223372036854775792.0),
        (1000.0, "DCGM_FI_DEV_MEM_CLOCK", labels, 7.0),
    ]
    steps = list(Recording(write(tmp_path / "r", rows)).steps())
    assert [s[2:] for s in samples(steps)] == [("gpu.memory_clock", 7.0)]


def test_a_long_gap_is_jumped_over(tmp_path: Path) -> None:
    rows: list[Row] = [
        (1000.0, "node_load1", {"instance": "a"}, 1.0),
        (1_000_000.0, "node_load1", {"instance": "a"}, 2.0),
    ]
    steps = list(Recording(write(tmp_path / "r", rows)).steps())
    assert [step.at_s for step in steps] == [1000.2, 1_000_000.2]


def test_log_lines_before_and_after_the_numbers_are_played_too(tmp_path: Path) -> None:
    line = "EngineDeadError: EngineCore encountered an issue."
    logs = [
        {"ts": 1002.0, "host": "b", "channel": "engine", "line": line},
        {"ts": 998.0, "host": "a", "channel": "engine", "line": line, "more": 1},
        {"ts": 999.0, "host": "a", "channel": "weather", "line": line},
    ]
    rows: list[Row] = [(1000.0, "node_load1", {"instance": "a"}, 1.0)]
    steps = list(Recording(write(tmp_path / "r", rows, logs=logs)).steps())
    assert [(e.time_s, e.subject) for s in steps for e in s.events] == [
        (998.0, "recording/engine/engine-0"),
        (1002.0, "recording/engine/engine-1"),
    ]
    assert steps[0].topology[0].at_s == 998.0
    assert steps[-1].at_s == 1002.2


def test_a_forged_kernel_line_stays_an_applications_word(tmp_path: Path) -> None:
    xid = "NVRM: Xid (PCI:0000:00:06): 79, GPU has fallen off the bus."
    logs = [
        {"ts": 1000.0, "host": "a", "channel": "kmsg", "line": f"{priority},9,5,-;{xid}"}
        for priority in (4, 12)
    ]
    steps = list(Recording(write(tmp_path / "r", [], logs=logs)).steps())
    witnesses = [e.data["witness"] for s in steps for e in s.events]
    assert witnesses == ["kernel_log", "application_log"]


def test_an_empty_recording_has_no_steps(tmp_path: Path) -> None:
    assert list(Recording(write(tmp_path / "r", [])).steps()) == []


def damage(folder: Path, what: str) -> None:
    """Break one thing in a recording."""
    parquet, logs = folder / "metrics.parquet", folder / "logs.jsonl"
    match what:
        case "no meta":
            (folder / "meta.json").unlink()
        case "meta is no JSON":
            (folder / "meta.json").write_text("{")
        case "meta of another kind":
            (folder / "meta.json").write_text('{"hosts": 3}')
        case "engine on no GPU":
            meta = {"hosts": [], "engines": [{"name": "e", "gpus": ["GPU-z"]}]}
            (folder / "meta.json").write_text(json.dumps(meta))
        case "no metrics":
            parquet.unlink()
        case "cut parquet":
            parquet.write_bytes(parquet.read_bytes()[:-40])
        case "a column less":
            pq.write_table(pq.read_table(parquet).drop(["value"]), parquet)
        case "labels no JSON":
            set_labels(parquet, ["{}", "{x"])
        case "labels a list":
            set_labels(parquet, ["{}", "[]"])
        case "text for numbers":
            table = pq.read_table(parquet)
            pq.write_table(table.set_column(3, "value", pa.array(["a", "b"])), parquet)
        case "no time":
            table = pq.read_table(parquet)
            pq.write_table(table.set_column(0, "ts", pa.array([1000.0, float("nan")])), parquet)
        case "no name":
            table = pq.read_table(parquet)
            pq.write_table(table.set_column(1, "metric", pa.array(["a", None])), parquet)
        case "half a log line":
            logs.write_text('{"ts": 1.0, "line": "x"}\n\n{"ts": 1.0, "li')
        case "a log line without time":
            logs.write_text('{"line": "x"}\n')
        case "logs a folder":
            logs.mkdir()


def set_labels(parquet: Path, texts: list[str]) -> None:
    """Replace the labels of the two rows."""
    table = pq.read_table(parquet)
    pq.write_table(table.set_column(2, "labels", pa.array(texts)), parquet)


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("no meta", "meta.json"),
        ("meta is no JSON", "meta.json"),
        ("meta of another kind", "meta.json"),
        ("engine on no GPU", "meta.json"),
        ("no metrics", "metrics.parquet"),
        ("cut parquet", "metrics.parquet"),
        ("a column less", "metrics.parquet"),
        ("labels no JSON", "metrics.parquet row 2"),
        ("labels a list", "metrics.parquet row 2"),
        ("text for numbers", "metrics.parquet"),
        ("no time", "metrics.parquet row 2"),
        ("no name", "metrics.parquet row 2"),
        ("half a log line", "logs.jsonl line 3"),
        ("a log line without time", "logs.jsonl line 1"),
        ("logs a folder", "logs.jsonl"),
    ],
)
def test_a_damaged_recording_is_refused_by_file_and_place(
    tmp_path: Path, what: str, where: str
) -> None:
    rows: list[Row] = [(1000.0 + at, "node_load1", {"instance": "a"}, 1.0) for at in range(2)]
    folder = write(tmp_path / "r", rows)
    Recording(folder)
    damage(folder, what)
    with pytest.raises(BadInput, match=r".+") as error:
        Recording(folder)
    assert where in error.value.where


def test_the_mark_of_a_step_is_handed_over_last() -> None:
    sink = ListSink()
    for step in Recording(RECORDINGS / "vllm-worker-killed").steps():
        push(step, sink)
        assert sink.got[-1] == step.at_s
    kinds = {type(item) for item in sink.got}
    assert kinds == {TopologyChange, Event, SampleBatch, float}
    first = sink.got[0]
    assert isinstance(first, TopologyChange)
    assert first.op is TopologyOp.ENTITY
