"""docs/dependencies.md gives a reason for every dependency, and for no other."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[><=~! ;]", r, maxsplit=1)[0] for r in requirements}


def test_every_dependency_has_its_reason_and_no_reason_is_left_over() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    declared = (
        names(project["project"]["dependencies"])
        | names(project["project"]["optional-dependencies"]["platform"])
        | names(project["dependency-groups"]["dev"])
    )
    page = (ROOT / "docs/dependencies.md").read_text()
    explained = dict(re.findall(r"^\| ([A-Za-z0-9-]+) \| (.+) \|$", page, re.MULTILINE))
    explained.pop("package")

    assert set(explained) == declared
    assert all(len(reason) > 4 for reason in explained.values())
