"""`fleetmend dead-letters`: whatever the payload holds, the output is what was asked for."""

import base64
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fleetmend.cli import deadletters as _registers
from fleetmend.cli.app import app
from fleetmend.clock import ManualClock
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.settings.store import StoreSettings
from fleetmend.store import Store, StoreDeadLetters

assert _registers  # its import is the registration
BYTES = b'\x00\xff\xfe{"a"'
LETTERS = (
    DeadLetter(1.0, "stream", "samples/0 offset 7", "not a sample batch", BYTES),
    DeadLetter(2.0, "kmsg", "node-3 line 1", "not a record", b"plain"),
)


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """Settings of a store that holds `LETTERS`."""
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = Store(url, ManualClock(3.0), settings=StoreSettings(url=url))
    store.migrate()
    for letter in LETTERS:
        StoreDeadLetters(store).put(letter)
    store.close()
    path = tmp_path / "config.toml"
    path.write_text(f'[store]\nurl = "{url}"\n')
    return path


def printed(config: Path, output: str) -> str:
    result = CliRunner().invoke(
        app, ["dead-letters", "--output", output, "--config", str(config)], catch_exceptions=False
    )
    assert result.exit_code == 0
    return result.stdout


def test_json_is_one_document_with_the_payload_as_text_and_exactly(config: Path) -> None:
    report = json.loads(printed(config, "json"))

    newest, oldest = report["dead_letters"]
    assert (newest["payload"], newest["source"]) == ("plain", "kmsg")
    assert oldest["payload"] == '\x00\\xff\\xfe{"a"'
    assert base64.b64decode(oldest["payload_base64"]) == BYTES
    assert report["counts"] == {"kmsg": 1, "stream": 1}


def test_jsonl_is_a_document_a_line(config: Path) -> None:
    rows = [json.loads(line) for line in printed(config, "jsonl").splitlines()]

    assert [row["where"] for row in rows] == ["node-3 line 1", "samples/0 offset 7"]


def test_the_table_says_how_many_there_ever_were(config: Path) -> None:
    assert "stream: 1 in all" in printed(config, "table")
