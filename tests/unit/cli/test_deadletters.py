"""`fleetmend dead-letters`: times that a person can lay beside a log."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleetmend.cli.app import app
from fleetmend.cli.deadletters import _iso
from fleetmend.clock import ManualClock
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.store import Store, StoreDeadLetters


def test_the_moment_is_said_in_utc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url = f"sqlite:///{tmp_path}/s.db"
    store = Store(url, ManualClock())
    store.migrate()
    letter = DeadLetter(1_764_000_000.25, "scrape", "node-3", "no number", b"x")
    StoreDeadLetters(store).put(letter)
    store.close()
    monkeypatch.setenv("FLEETMEND_STORE__URL", url)

    table = CliRunner().invoke(app, ["dead-letters"])
    lines = CliRunner().invoke(app, ["dead-letters", "--output", "jsonl"])

    assert "2025-11-24T16:00:00.250Z" in table.stdout
    assert json.loads(lines.stdout)["at"] == "2025-11-24T16:00:00.250Z"


def test_a_time_that_no_calendar_has_is_still_printed() -> None:
    assert _iso(1e300) == "1e+300"
