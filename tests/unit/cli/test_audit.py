"""`fleetmend audit`: verifies the whole chain, gives its end away, shows all that was asked for."""

import json
import sqlite3
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

import fleetmend.cli.audit
from fleetmend.cli.app import app
from fleetmend.clock import ManualClock
from fleetmend.model.audit import AuditVerb
from fleetmend.store import Store

RECORDS = 1203


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings of a store with more records than one page has."""
    store = Store(f"sqlite:///{tmp_path}/s.db", ManualClock())
    store.migrate()
    with store.transaction() as tx:
        for number in range(RECORDS):
            tx.audit.append(
                at_s=1.0, actor="a", verb=AuditVerb.NOTE, subject="i-1", detail={"n": number}
            )
    store.close()
    path = tmp_path / "config.toml"
    path.write_text(f'[store]\nurl = "sqlite:///{tmp_path}/s.db"\n')
    return path


def run(config: Path, *words: str) -> Result:
    assert fleetmend.cli.audit.PAGE < RECORDS
    return CliRunner().invoke(app, ["audit", *words, "--config", str(config)])


def cut(config: Path, at: int) -> None:
    """What the owner of the database can do: end the chain at an earlier record, all of it."""
    with sqlite3.connect(config.parent / "s.db") as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        raw.execute("DELETE FROM audit WHERE seq > ?", (at,))
        raw.execute(
            "UPDATE audit_head SET seq = ?, hash = (SELECT hash FROM audit WHERE seq = ?)", (at, at)
        )


@pytest.mark.parametrize(("limit", "count"), [("0", RECORDS), ("1100", 1100), ("7", 7)])
def test_as_many_records_are_shown_as_were_asked_for(config: Path, limit: str, count: int) -> None:
    result = run(config, "show", "--limit", limit)

    assert result.exit_code == 0
    shown = [json.loads(line)["seq"] for line in result.stdout.splitlines()]
    assert shown == list(range(1, count + 1))
    assert (f"{RECORDS - count} more" in result.stderr) == (count < RECORDS)


def test_a_log_that_was_cut_whole_is_noticed_by_the_head_that_was_kept(config: Path) -> None:
    kept = run(config, "head").stdout.strip()
    assert run(config, "verify", "--since", kept).exit_code == 0

    cut(config, 900)

    assert run(config, "verify").exit_code == 0
    result = run(config, "verify", "--since", kept)
    assert result.exit_code == 1
    assert "broken at record 901: cut off" in result.stderr
