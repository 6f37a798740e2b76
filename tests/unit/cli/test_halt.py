"""`fleetmend halt`: it never says that something stops when nobody is known to listen."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import fleetmend.cli.halt
from fleetmend.cli.app import app
from fleetmend.cli.haltreaders import is_read, reading
from remediation.halt import FileHalt


@pytest.fixture
def switch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "var" / "halt.json"
    monkeypatch.setenv("FLEETMEND_REMEDIATION__HALT_FILE", str(path))
    return path


def run(*words: str) -> Result:
    assert fleetmend.cli.halt.UNSAID  # its import registers the command
    return CliRunner().invoke(app, ["halt", *words])


def test_a_switch_that_a_process_reads_is_set(switch: Path) -> None:
    FileHalt(switch).create()
    with reading(switch):
        result = run("smoke in row 3")
    assert result.exit_code == 0
    assert "halted by" in result.stderr
    assert FileHalt(switch).state().reason == "smoke in row 3"


def test_a_switch_that_was_not_there_is_set_but_not_called_a_success(switch: Path) -> None:
    result = run("why")
    assert result.exit_code == 1
    assert "nothing is known to stop" in result.stderr
    assert "was not there before" in result.stderr
    assert "halted by" not in result.stderr
    assert FileHalt(switch).state().halted


def test_a_switch_that_nobody_reads_any_more_is_not_called_a_success(switch: Path) -> None:
    FileHalt(switch).create()
    with reading(switch):
        pass
    result = run("why")
    assert result.exit_code == 1
    assert "no process on this machine reads" in result.stderr


def test_a_reason_need_not_be_typed_in_a_hurry(switch: Path) -> None:
    with reading(switch):
        assert run().exit_code == 0
    assert FileHalt(switch).state().reason == "no reason given"


def test_several_may_read_one_switch(switch: Path) -> None:
    with reading(switch):
        with reading(switch):
            pass
        assert is_read(switch)
    assert not is_read(switch)


def test_a_process_goes_on_where_its_reading_cannot_be_noted(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with reading(tmp_path / "file" / "halt.json"):
        pass
    assert not is_read(tmp_path / "file" / "halt.json")
