"""House rules of the layout: one list of packages, whole packages, names that are ours, small
modules."""

import subprocess
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from statistics import median

ROOT = Path(__file__).parents[2]
TOOL = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
PACKAGES = sorted(p.parent.name for p in ROOT.glob("*/__init__.py"))
MODULES = sorted(m for package in PACKAGES for m in (ROOT / package).rglob("*.py"))
SHIPPED = [m for m in MODULES if "migrations" not in m.parts and m.name != "__init__.py"]


def test_every_list_of_packages_in_pyproject_is_the_same() -> None:
    """A package left out of one list is silently unbuilt, uncounted or unfenced."""
    assert sorted(TOOL["hatch"]["build"]["targets"]["wheel"]["packages"]) == PACKAGES
    assert sorted(TOOL["importlinter"]["root_packages"]) == PACKAGES
    assert sorted(TOOL["coverage"]["run"]["source"]) == PACKAGES


def test_every_folder_of_code_is_a_typed_package() -> None:
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists(), package
    for module in MODULES:
        assert (module.parent / "__init__.py").exists(), module


def test_no_other_distribution_brings_our_names() -> None:
    """The price of plain top-level names: say so at once when a dependency takes one."""
    owners = packages_distributions()
    for package in PACKAGES:
        assert set(owners.get(package, [])) <= {"fleetmend"}, package


def test_modules_stay_small() -> None:
    sizes = {m: len(m.read_text().splitlines()) for m in SHIPPED}
    assert {str(m): n for m, n in sizes.items() if n > 400} == {}
    assert median(sizes.values()) <= 160


def test_every_module_says_what_it_is_for() -> None:
    silent = [m for m in SHIPPED if not m.read_text().lstrip().startswith('"""')]
    assert silent == []


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "common", "helpers", "misc", "types", "manager"}
    assert [m for m in MODULES if m.stem in vague or m.parent.name in vague] == []


def test_the_tree_speaks_only_of_itself() -> None:
    """No path of a developer's machine in anything that is committed."""
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    roots = ("/wo" + "rk/", "/fa" + "rm/", "/ho" + "me/")
    guilty = []
    for name in tracked.stdout.split():
        path = ROOT / name
        if path.suffix in {".py", ".md", ".toml", ".yaml", ".sh", ".ts", ".html", ".css"}:
            text = path.read_text(errors="replace")
            guilty += [name for root in roots if root in text]
    assert guilty == []
