"""Commands that read a store never make one."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

import fleetmend.cli.audit
from fleetmend.cli.app import app
from fleetmend.errors import StoreError


@pytest.mark.parametrize("command", ["verify", "show", "head"])
def test_a_path_that_is_wrong_is_said_and_no_database_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    assert fleetmend.cli.audit.PAGE
    wrong = tmp_path / "wrong.db"
    monkeypatch.setenv("FLEETMEND_STORE__URL", f"sqlite:///{wrong}")
    result = CliRunner().invoke(app, ["audit", command])
    assert isinstance(result.exception, StoreError)
    assert "no such file" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_is_no_database_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = tmp_path / "other"
    other.write_bytes(b"")
    monkeypatch.setenv("FLEETMEND_STORE__URL", f"sqlite:///{other}")
    result = CliRunner().invoke(app, ["audit", "verify"])
    assert "is no database" in str(result.exception)
    assert other.read_bytes() == b""
