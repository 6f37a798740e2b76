"""`fleetmend demo`: what it may remove, what it checks first, and what it says at its start."""

import os
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fleetmend.cli import demo
from fleetmend.cli.app import app
from fleetmend.cli.demofolder import MARKER, begin_anew
from fleetmend.clock import SystemClock
from fleetmend.errors import PortError, SettingsError
from fleetmend.settings import Settings, load_settings
from fleetmend.streams.sqlite import SqliteLog

PRECIOUS = ("log.db", "store.db", "store.db-wal", "halt.json")


@pytest.fixture
def platform(tmp_path: Path) -> Path:
    """The folder of a platform that is no demonstration."""
    folder = tmp_path / "var"
    folder.mkdir()
    for name in PRECIOUS:
        (folder / name).write_text("precious")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """The folder of a demonstration that has ended."""
    folder = tmp_path / "demo"
    os.close(begin_anew(folder))
    for name in PRECIOUS:
        (folder / name).write_text("old")
    return folder


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name in PRECIOUS}


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["demo", *words])


class TestFolder:
    def test_a_folder_of_somebody_else_is_refused_and_nothing_is_removed(
        self, platform: Path
    ) -> None:
        with pytest.raises(SettingsError, match="not made by a demonstration"):
            begin_anew(platform)
        assert contents(platform) == dict.fromkeys(PRECIOUS, "precious")
        assert not (platform / MARKER).exists()

    def test_a_demonstrations_own_folder_is_begun_anew_and_other_files_stay(
        self, own: Path
    ) -> None:
        (own / "notes.txt").write_text("mine")
        os.close(begin_anew(own))
        assert contents(own) == {}
        assert (own / "notes.txt").read_text() == "mine"

    @pytest.mark.parametrize("made", [True, False])
    def test_an_empty_or_new_folder_is_taken(self, tmp_path: Path, made: bool) -> None:
        folder = tmp_path / "new"
        if made:
            folder.mkdir()
        os.close(begin_anew(folder))
        assert (folder / MARKER).is_file()

    def test_one_in_which_a_demonstration_runs_is_refused(self, own: Path) -> None:
        running = begin_anew(own)
        (own / "store.db").write_text("in use")
        with pytest.raises(SettingsError, match=f"in use by process {os.getpid()}"):
            begin_anew(own)
        assert contents(own) == {"store.db": "in use"}
        os.close(running)

    def test_one_whose_log_somebody_holds_is_refused(self, tmp_path: Path) -> None:
        folder = tmp_path / "demo"
        os.close(begin_anew(folder))
        log = SqliteLog(str(folder / "log.db"), clock=SystemClock(), partitions=1)
        with pytest.raises(SettingsError, match="in use by process"):
            begin_anew(folder)
        assert (folder / "log.db").exists()
        log.close()


class TestChecksFirst:
    def test_a_taken_port_removes_nothing(self, own: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            result = run("--data", str(own), "--port", str(taken.getsockname()[1]))
        assert isinstance(result.exception, PortError)
        assert contents(own) == dict.fromkeys(PRECIOUS, "old")

    def test_runbooks_that_cannot_be_read_remove_nothing(
        self, own: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("FLEETMEND_REMEDIATION__RUNBOOKS", str(own / "nowhere"))
        result = run("--data", str(own), "--port", "0")
        assert result.exception is not None
        assert "nowhere" in str(result.exception)
        assert contents(own) == dict.fromkeys(PRECIOUS, "old")

    def test_a_number_of_gpus_that_fills_no_nodes_is_refused_before_anything_is_said(
        self, own: Path
    ) -> None:
        result = run("--data", str(own), "--gpus", "10")
        assert isinstance(result.exception, SettingsError)
        assert "simulating" not in result.output
        assert contents(own) == dict.fromkeys(PRECIOUS, "old")

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("FLEETMEND_STORE__URL", "sqlite:////srv/store.db"),
            ("FLEETMEND_STREAMS__PATH", "/srv/log.db"),
            ("FLEETMEND_REMEDIATION__HALT_FILE", "/srv/halt.json"),
        ],
    )
    def test_the_places_of_a_real_installation_are_refused(
        self, own: Path, monkeypatch: pytest.MonkeyPatch, name: str, value: str
    ) -> None:
        monkeypatch.setenv(name, value)
        result = run("--data", str(own), "--port", "0")
        assert isinstance(result.exception, SettingsError)
        assert name in str(result.exception)


def preset(gpus: int) -> Settings:
    return load_settings(
        flags={"simulator.gpus": gpus}, preset=demo.demo_preset(Path("x"), gpus)
    ).settings


class TestStart:
    def test_it_prints_commands_that_reach_its_own_switch_and_store(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        made = load_settings(preset=demo.demo_preset(tmp_path / "a b", 1000)).settings
        demo.announce("http://127.0.0.1:1", made)
        said = capsys.readouterr().err
        assert f"env 'FLEETMEND_REMEDIATION__HALT_FILE={tmp_path}/a b/halt.json'" in said
        assert f"env 'FLEETMEND_STORE__URL=sqlite:///{tmp_path}/a b/store.db'" in said

    def test_it_says_that_the_fleet_is_simulated_and_when_a_fault_comes(self) -> None:
        said = demo.in_words(preset(1000).simulator)
        assert said.startswith("Simulated fleet of 1,000 GPUs: a fault comes by itself about every")

    def test_without_scheduled_faults_it_says_so(self) -> None:
        quiet = preset(1000).simulator
        faults = quiet.faults.model_copy(update={"speed_up": 0.0})
        said = demo.in_words(quiet.model_copy(update={"faults": faults}))
        assert "only when you make one" in said

    def test_a_small_fleet_has_less_load_so_that_a_node_can_be_spared_and_says_so(self) -> None:
        small, large = preset(96).simulator, preset(1000).simulator
        assert small.load.mean_running < large.load.mean_running
        assert "little to spare" in demo.in_words(small)
        assert "little to spare" not in demo.in_words(large)
