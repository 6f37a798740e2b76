"""Consoles for the tests: a filled one that nobody changes, and fresh ones.

Fresh stores are copies of a file that is made once: migrating and filling takes longer than a test.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from tests.unit.console.builder import NOW_S, open_store, store_at
from tests.unit.console.client import Bench, bench
from tests.unit.console.fakes import FakeFaults, FakeFleet
from tests.unit.console.scenes import fill


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated store with nothing in it."""
    folder = tmp_path_factory.mktemp("empty-store")
    open_store(folder, ManualClock(NOW_S)).close()
    return folder / "console.db"


@pytest.fixture(scope="session")
def filled_file(tmp_path_factory: pytest.TempPathFactory, empty_file: Path) -> Path:
    """A small filled store."""
    folder = tmp_path_factory.mktemp("filled-store")
    shutil.copy(empty_file, folder)
    store = store_at(folder, ManualClock(NOW_S))
    fill(store, resolved=3)
    store.close()
    return folder / "console.db"


@pytest.fixture(scope="session")
def filled(filled_file: Path) -> Iterator[Bench]:
    """Everything that the pages can show; only for reading."""
    yield from _on(filled_file, filled_file.parent, full=True)


@pytest.fixture
def fresh(tmp_path: Path, filled_file: Path) -> Iterator[Bench]:
    """The same, for tests that change it."""
    yield from _on(filled_file, tmp_path, full=True)


@pytest.fixture
def empty(tmp_path: Path, empty_file: Path) -> Iterator[Bench]:
    """A console over an empty store, without fleet and faults."""
    yield from _on(empty_file, tmp_path, full=False)


def _on(file: Path, folder: Path, *, full: bool) -> Iterator[Bench]:
    if file.parent != folder:
        shutil.copy(file, folder)
    clock = ManualClock(NOW_S)
    store = store_at(folder, clock)
    if full:
        made = bench(folder, store=store, clock=clock, fleet=FakeFleet(), faults=FakeFaults())
    else:
        made = bench(folder, store=store, clock=clock)
    yield made
    store.close()
