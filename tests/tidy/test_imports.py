"""The import rule is a check, and the check works: each contract is broken by a planted
violation."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]

# One violation for each contract, by the contract's name: module to plant it in, line to plant.
PLANTED = {
    "the root wires the stages; stages know the contracts, never each other": (
        "detection/planted_stage.py",
        "import rca.stage",
    ),
    "every module of fleetmend has its place": (
        "fleetmend/model/planted_order.py",
        "import fleetmend.store",
    ),
    "the console reads the store and asks two public services": (
        "console/planted_console.py",
        "import remediation.execute",
    ),
    "only these touch a cluster": ("detection/planted_cluster.py", "import kubernetes"),
    "only detectors learn": ("rca/planted_learning.py", "import sklearn"),
    "only detection compiles": ("simulator/planted_kernel.py", "import numba"),
    "only root cause walks graphs": ("detection/planted_graph.py", "import networkx"),
    "only the streams know the broker": ("collectors/planted_broker.py", "import kafka"),
    "only the store knows the database": ("remediation/planted_database.py", "import sqlalchemy"),
    "only the NVML reader loads the vendor's library": (
        "alerting/planted_library.py",
        "import pynvml",
    ),
    "only the console speaks HTTP": ("alerting/planted_http.py", "import fastapi"),
}


def lint(folder: Path) -> dict[str, str]:
    """Contract name -> KEPT or BROKEN, as import-linter says of the tree in `folder`."""
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as c; c()"]
    done = subprocess.run(
        [*command, "--no-cache"], cwd=folder, capture_output=True, text=True, env={"COLUMNS": "200"}
    )
    verdicts = {}
    for contract in CONTRACTS["contracts"]:
        for line in done.stdout.splitlines():
            if line.startswith(contract["name"]):
                said = line.removeprefix(contract["name"]).split()
                if said and said[0] in {"KEPT", "BROKEN"}:
                    verdicts[contract["name"]] = said[0]
    assert verdicts, done.stdout + done.stderr
    return verdicts


def copy_of_the_tree(folder: Path) -> Path:
    for package in CONTRACTS["root_packages"]:
        ignore = shutil.ignore_patterns("static", "__pycache__")
        shutil.copytree(ROOT / package, folder / package, ignore=ignore)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def test_every_contract_has_a_planted_violation() -> None:
    assert set(PLANTED) == {contract["name"] for contract in CONTRACTS["contracts"]}


def test_planted_violations_break_every_contract(tmp_path: Path) -> None:
    tree = copy_of_the_tree(tmp_path)
    for module, line in PLANTED.values():
        (tree / module).write_text(line + "\n")

    assert lint(tree) == dict.fromkeys(PLANTED, "BROKEN")


def test_the_tree_as_it_is_keeps_every_contract(tmp_path: Path) -> None:
    assert lint(copy_of_the_tree(tmp_path)) == dict.fromkeys(PLANTED, "KEPT")
