"""Runbook files: the shipped ones are sound; each mistake is named with file, line and field."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmend.errors import BadInput
from remediation.runbook_files import BYTES_MAX, load_runbook, load_runbooks, parse_runbook
from tests.unit.remediation.bench import RUNBOOKS

BAD = Path(__file__).parent / "bad_runbooks"

MISTAKES = {
    "unknown-key": (5, "colour", "Extra inputs"),
    "bad-cel": (5, "match", "is no CEL"),
    "cel-unknown-field": (5, "match", "asks for cause.nam"),
    "cel-not-known": (5, "match", "names 'secret'"),
    "bad-precondition": (8, "preconditions.1", "calls 'evil'"),
    "unknown-action": (7, "steps.0.do", "Input should be"),
    "drain-without-cordon": (1, "", "a drain needs a cordon"),
    "twice": (1, "", "stands there twice"),
    "never-undone": (1, "", "cordon is never undone"),
    "takes-in-give-back": (1, "", "only what gives back"),
    "gives-back-in-steps": (1, "", "stands under give_back"),
    "milder-than-it-is": (7, "steps.0", "never less"),
    "wrong-compensation": (7, "steps.0", "undone by uncordon"),
    "no-tests": (1, "tests", "Field required"),
    "negative-timeout": (8, "steps.0.timeout_s", "greater than 0"),
    "unknown-refusal": (11, "tests.0.expect.refused.cordon.0", "Input should be"),
    "unknown-role": (7, "approval.roles.0", "Input should be"),
    "repeated-key": (4, "", "stands there twice"),
    "alias": (9, "", "aliases are not used"),
    "not-yaml": (3, "", "is no YAML"),
    "other-name": (1, "id", "is not the file's name"),
    "list": (1, "", "Input should be"),
    "latin": (None, "", "is not UTF-8"),
}


def test_every_bad_file_has_its_mistake_listed() -> None:
    assert {path.stem for path in BAD.glob("*.yaml")} == set(MISTAKES)


@pytest.mark.parametrize("name", sorted(MISTAKES))
def test_a_mistake_is_named_with_file_line_and_field(name: str) -> None:
    line, field, words = MISTAKES[name]
    path = BAD / f"{name}.yaml"

    with pytest.raises(BadInput, match=words) as refused:
        load_runbook(path)

    place = str(path) if line is None else f"{path} line {line} {field}".rstrip()
    assert refused.value.where == place


def test_the_shipped_runbooks_are_sound() -> None:
    assert [runbook.id for runbook in RUNBOOKS] == [
        "engine-crash",
        "engine-hang",
        "engine-silent-corruption",
        "engine-slow",
        "gpu-fallen-off-bus",
        "gpu-noisy-neighbour",
        "gpu-reset-needed",
        "node-not-ready",
        "observe-only",
    ]
    assert all(len(runbook.file.tests) >= 2 for runbook in RUNBOOKS)


def test_an_empty_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="holds no runbooks"):
        load_runbooks(tmp_path)
    with pytest.raises(BadInput, match="cannot be read"):
        load_runbook(tmp_path / "none.yaml")


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_text("# " + "x" * BYTES_MAX)

    with pytest.raises(BadInput, match="is larger than"):
        load_runbook(path)


@pytest.mark.parametrize(
    "text", ["[" * 30_000, "{" * 30_000, "- " * 15_000, "? [a]\n: b", "a: 1" + "1" * 6000]
)
def test_hostile_yaml_is_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_runbook(text, Path("hostile.yaml"))


@given(st.text(alphabet="abc:[]{}&*!#|>-?\n \t'\"%@`,01", max_size=60))
def test_no_text_raises_anything_but_bad_input(text: str) -> None:
    with pytest.raises(BadInput):
        parse_runbook(text, Path("any.yaml"))
