"""What telemetry says cannot steer the terminal of who reads a table."""

import ast
from pathlib import Path

import pytest

import fleetmend.cli
from fleetmend.cli.coverage import _print_table as print_coverage
from fleetmend.cli.deadletters import _print_table as print_letters
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import EntityId
from fleetmend.ports.deadletters import DeadLetter

HOSTILE = "\x1b]0;owned\x07\x1b[2K\x1b[1A\x00\u202e"


def test_escapes_in_names_and_reasons_are_shown_and_not_obeyed(
    capsys: pytest.CaptureFixture[str],
) -> None:
    entry = Coverage(EntityId(f"c/model/{HOSTILE}"), 1e9, Freshness.ABSENT, 1e9, outcome=HOSTILE)
    print_coverage([entry], {}, 1e9 + 5)
    print_letters([DeadLetter(1e9, HOSTILE, HOSTILE, HOSTILE, b"")], {HOSTILE: 1})

    told = capsys.readouterr().out
    assert r"\x1b]0;owned\x07" in told
    assert told.replace("\n", "").isprintable()


def test_no_command_adds_a_row_by_any_other_way() -> None:
    folder = Path(fleetmend.cli.__file__).parent
    found = {
        path.name
        for path in folder.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr == "add_row"
    }
    assert found == {"tables.py"}
