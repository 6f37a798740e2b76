"""Replays are functions of the recording: equal twice, without labels, and up to a cut."""

import shutil
from pathlib import Path

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from fleetmend.model.incidents import Incident
from fleetmend.replay import replay
from fleetmend.settings import Settings

RECORDINGS = Path(__file__).parents[2] / "data" / "recordings"
RECORDING = RECORDINGS / "h200-single-a"
CUT_S = 150.0
"""Long enough to hold the first two faults."""


def cut(folder: Path, *, after_s: float) -> Path:
    """The recording as it was `after_s` seconds after its start."""
    shutil.copytree(RECORDING, folder)
    table = pq.read_table(folder / "metrics.parquet")
    start_s = pc.min(table["ts"]).as_py()
    kept = table.filter(pc.less(table["ts"], start_s + after_s))
    pq.write_table(kept, folder / "metrics.parquet")
    logs = (folder / "logs.jsonl").read_text().splitlines(keepends=True)
    early = [
        line for line in logs if float(line.split('"ts": ')[1].split(",")[0]) < start_s + after_s
    ]
    (folder / "logs.jsonl").write_text("".join(early))
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cut(tmp_path_factory.mktemp("short") / "recording", after_s=CUT_S)


@pytest.fixture(scope="module")
def incidents(short: Path) -> tuple[Incident, ...]:
    return replay(short, settings=Settings()).incidents


def test_a_second_replay_without_labels_gives_the_same(
    short: Path, incidents: tuple[Incident, ...], tmp_path: Path
) -> None:
    unlabelled = Path(shutil.copytree(short, tmp_path / "unlabelled"))
    (unlabelled / "labels.jsonl").unlink()

    assert replay(unlabelled, settings=Settings()).incidents == incidents


def test_a_prefix_gives_the_same_incidents_up_to_the_cut(
    incidents: tuple[Incident, ...], tmp_path: Path
) -> None:
    prefix = replay(cut(tmp_path / "prefix", after_s=100.0), settings=Settings())

    until_s = prefix.end_s - 1.0
    assert [i for i in prefix.incidents if i.updated_at_s <= until_s] == [
        i for i in incidents if i.updated_at_s <= until_s
    ]


def test_real_faults_of_a_real_gpu_are_found(incidents: tuple[Incident, ...]) -> None:
    """Two noisy neighbours, and nothing in the seventy calm seconds before them."""
    opened = [i for i in incidents if i.version == 1]

    assert [i.causes[0].cause for i in opened] == ["noisy_neighbour", "noisy_neighbour"]
    assert min(i.opened_at_s for i in opened) - 1795397018.4 > 70.0


def test_a_baseline_warms_the_detectors_and_leaves_no_incidents_of_its_own() -> None:
    folder = RECORDINGS / "vllm-hang-inflight"

    warmed = replay(folder, settings=Settings(), baseline=RECORDINGS / "vllm-normal")

    assert all(i.opened_at_s >= warmed.start_s for i in warmed.incidents)
    assert "engine_hang" in {i.causes[0].cause for i in warmed.incidents if i.causes}
