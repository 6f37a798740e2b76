"""The shipped runbooks are found wherever the command is started, and a wheel carries them."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from fleetmend.settings.remediation import RemediationSettings
from remediation.runbook_files import load_runbooks, runbooks_of, shipped

ROOT = Path(__file__).parents[3]
SHIPPED = sorted(path.stem for path in (ROOT / "runbooks").glob("*.yaml"))


def test_the_default_means_those_that_ship_wherever_one_stands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = runbooks_of(RemediationSettings().runbooks)

    assert [runbook.id for runbook in found] == SHIPPED


def test_a_folder_of_ones_own_is_taken_instead(tmp_path: Path) -> None:
    text = (ROOT / "runbooks" / "observe-only.yaml").read_text()
    (tmp_path / "observe-only.yaml").write_text(text)

    assert [runbook.id for runbook in runbooks_of(str(tmp_path))] == ["observe-only"]


def test_an_installed_package_looks_inside_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = tmp_path / "remediation" / "runbooks"
    inside.mkdir(parents=True)
    module = tmp_path / "remediation" / "runbook_files.py"
    monkeypatch.setattr("remediation.runbook_files.__file__", str(module))

    assert shipped() == inside


def test_a_wheel_carries_every_runbook(tmp_path: Path) -> None:
    """Built from a copy, so that neither the working tree nor npm is touched."""
    tree = tmp_path / "tree"
    tree.mkdir()
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "runbooks"):
        os.symlink(ROOT / name, tree / name)
    for package in sorted(path.parent.name for path in ROOT.glob("*/__init__.py")):
        (tree / package).mkdir()
        (tree / package / "__init__.py").touch()

    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path / "dist")],
        cwd=tree,
        check=True,
        capture_output=True,
        timeout=60,
    )

    [wheel] = (tmp_path / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as content:
        content.extractall(tmp_path / "site")
    here = tmp_path / "site" / "remediation" / "runbooks"
    assert [runbook.id for runbook in load_runbooks(here)] == SHIPPED
