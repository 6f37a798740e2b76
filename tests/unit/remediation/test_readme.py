"""The pages beside the code say what is there."""

import re
import tomllib
from pathlib import Path

from fleetmend.model.plans import ActionKind
from remediation.cases import run_examples
from remediation.expressions import FIELDS
from remediation.facts import GIVES_BACK
from remediation.runbook import RunbookFile, StepTemplate
from remediation.runbook_files import parse_runbook

ROOT = Path(__file__).parents[3]
RUNBOOKS = (ROOT / "runbooks" / "README.md").read_text()
ROOM = (ROOT / "remediation" / "README.md").read_text()


def test_the_page_of_runbooks_names_every_key_action_and_field() -> None:
    keys = {f.alias or name for name, f in RunbookFile.model_fields.items()}
    keys |= {f.alias or name for name, f in StepTemplate.model_fields.items()}
    keys |= {kind.value for kind in ActionKind} | set(FIELDS)
    keys |= {field for fields in FIELDS.values() for field in fields}

    assert [key for key in sorted(keys) if f"`{key}`" not in RUNBOOKS] == []
    assert all(f"| `{kind.value}`" in RUNBOOKS for kind in set(ActionKind) - GIVES_BACK)


def test_the_example_on_the_page_is_sound_and_passes() -> None:
    text = re.findall(r"```yaml\n(.*?)```", RUNBOOKS, re.DOTALL)[0]

    runbook = parse_runbook(text, Path("gpu-too-hot.yaml"))

    assert [result.failures for result in run_examples([runbook])] == [()]


def test_the_page_of_the_room_names_every_module() -> None:
    modules = {p.stem for p in (ROOT / "remediation").glob("*.py")} - {"__init__"}
    named = set(re.findall(r"`([a-z_]+)`", ROOM))

    assert modules - named == set()


def test_every_runbook_that_a_fault_class_names_is_there() -> None:
    """Root cause names runbooks by id; a name without a file would silently mean the next best."""
    here = {path.stem for path in (ROOT / "runbooks").glob("*.yaml")}
    classes = sorted((ROOT / "rca" / "knowledge" / "classes").glob("*.toml"))

    named = {path.stem: tomllib.loads(path.read_text())["runbooks"] for path in classes}

    assert named
    assert {name: ids for name, ids in named.items() if not set(ids) <= here} == {}
