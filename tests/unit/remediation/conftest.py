"""A migrated store is made once and copied for each test, in memory where the machine allows: these
tests ask what is written, not how safely a disk keeps it."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.store import Store
from remediation.sample import NOW_S
from tests.unit.remediation.bench import Bench, stores

MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of the test's own is made in it


@pytest.fixture(scope="session")
def store_template() -> Iterator[Path]:
    """The file of an empty, migrated store, in a folder where copies may lie beside it."""
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as folder:
        path = Path(folder) / "template.db"
        store = Store(f"sqlite:///{path}", ManualClock(NOW_S))
        store.migrate()
        store.close()
        yield path


@pytest.fixture
def fresh_stores(store_template: Path) -> Iterator[Iterator[Store]]:
    """As many stores as a test wants."""
    with tempfile.TemporaryDirectory(dir=store_template.parent) as folder:
        yield stores(store_template, Path(folder))


@pytest.fixture
def bench(fresh_stores: Iterator[Store]) -> Iterator[Bench]:
    """A workbench of a pool that acts by itself."""
    store = next(fresh_stores)
    yield Bench(store)
    store.close()
