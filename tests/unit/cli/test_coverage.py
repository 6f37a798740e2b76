"""`fleetmend coverage`: what it prints, and which exit code says what."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from fleetmend.cli import coverage as command
from fleetmend.cli.app import app
from fleetmend.clock import ManualClock
from fleetmend.model.coverage import LEDGER, Coverage, Freshness
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.store import Store

NOW_S = 1_764_000_000.0
NODE = entity_id("lab", EntityKind.NODE, "node-1")
SIGNALS = {Freshness.FRESH: ("gpu.power",), Freshness.ABSENT: ("gpu.fan", "gpu.sm_clock")}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """A store that the settings name, and a clock that stands still."""
    url = f"sqlite:///{tmp_path}/s.db"
    made = Store(url, ManualClock(NOW_S))
    made.migrate()
    monkeypatch.setenv("FLEETMEND_STORE__URL", url)
    monkeypatch.setattr(command, "SystemClock", lambda: ManualClock(NOW_S))
    yield made
    made.close()


def keep(store: Store, *entries: Coverage, reached_s: float = NOW_S - 5.0) -> None:
    with store.transaction() as tx:
        tx.coverage.put([*entries, Coverage(LEDGER, reached_s, Freshness.FRESH, 0.0)])


def gpu(number: int, state: Freshness = Freshness.FRESH) -> Coverage:
    return Coverage(
        entity_id("lab", EntityKind.GPU, f"GPU-{number}"),
        NOW_S - 60.0,
        state,
        NOW_S - 42.0,
        NOW_S - 48.0,
        1.0,
        SIGNALS,
        node=NODE,
        pool="chat",
    )


def engine(state: Freshness, outcome: str = "") -> Coverage:
    name = entity_id("lab", EntityKind.ENGINE, "engine-1")
    return Coverage(name, NOW_S - 60.0, state, NOW_S - 42.0, outcome=outcome, pool="batch")


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["coverage", *arguments])


def test_the_table_says_what_is_missing_since_when_and_why(store: Store) -> None:
    keep(store, gpu(1), engine(Freshness.ABSENT, "connection refused"))
    said = run()
    assert said.exit_code == 0, said.output
    row = next(line for line in said.stdout.splitlines() if "GPU-1" in line)
    assert row.split() == [
        *("lab/gpu/GPU-1", "fresh", "42", "s", "every", "1", "s", "1/3"),
        *("gpu.fan,", "gpu.sm_clock"),
    ]
    assert "connection refused" in said.stdout
    assert "never" in said.stdout
    assert "gpu: 1 fresh" in said.stdout


def test_json_lines_hold_the_whole_entry(store: Store) -> None:
    keep(store, gpu(1), gpu(2, Freshness.FROZEN))
    lines = [json.loads(line) for line in run("--output", "jsonl").stdout.splitlines()]
    assert [line["state"] for line in lines] == ["fresh", "frozen"]
    assert lines[0]["signals"] == {state.value: list(names) for state, names in SIGNALS.items()}
    whole = json.loads(run("--output", "json").stdout)
    assert whole["items"] == lines
    assert whole["reached_s"] == NOW_S - 5.0
    assert whole["counts"] == {"gpu": {"fresh": 1, "frozen": 1}}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (["--state", "frozen"], ["lab/gpu/GPU-2"]),
        (["--kind", "engine"], ["lab/engine/engine-1"]),
        (["--pool", "chat"], ["lab/gpu/GPU-1", "lab/gpu/GPU-2"]),
        (["--entity", "GPU-1"], ["lab/gpu/GPU-1"]),
        (["--entity", NODE], ["lab/gpu/GPU-1", "lab/gpu/GPU-2"]),
        (["--limit", "1"], ["lab/engine/engine-1"]),
        (["--limit", "0"], ["lab/engine/engine-1", "lab/gpu/GPU-1", "lab/gpu/GPU-2"]),
    ],
)
def test_filters_and_limit(store: Store, arguments: list[str], found: list[str]) -> None:
    keep(store, gpu(1), gpu(2, Freshness.FROZEN), engine(Freshness.NEVER))
    said = run("--output", "jsonl", *arguments)
    assert [json.loads(line)["entity"] for line in said.stdout.splitlines()] == found
    assert ("more follow" in said.stderr) is (arguments == ["--limit", "1"])


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (Freshness.FRESH, 0),
        (Freshness.LATE, 0),
        (Freshness.FROZEN, 1),
        (Freshness.ABSENT, 1),
        (Freshness.NEVER, 1),
    ],
)
def test_asked_to_check_it_fails_when_something_is_missing(
    store: Store, state: Freshness, code: int
) -> None:
    keep(store, engine(state))
    assert run("--check").exit_code == code
    assert run().exit_code == 0


def test_a_ledger_that_nobody_keeps_fails_and_says_so(store: Store) -> None:
    never = run()
    assert (never.exit_code, "never been kept" in never.stderr) == (1, True)
    keep(store, gpu(1), reached_s=NOW_S - 600.0)
    old = run()
    assert (old.exit_code, "kept the ledger for 10 min" in old.stderr) == (1, True)
    assert "GPU-1" in old.stdout


@pytest.mark.parametrize("arguments", [["--state", "asleep"], ["--kind", "toaster"]])
def test_a_word_that_is_none_is_wrong_usage(store: Store, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


@pytest.mark.parametrize(
    ("span_s", "said"),
    [(0.4, "0 s"), (119, "119 s"), (600, "10 min"), (9000, "2.5 h"), (2e5, "2.3 d")],
)
def test_spans_are_for_people(span_s: float, said: str) -> None:
    assert command._span(span_s) == said
