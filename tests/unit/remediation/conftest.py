"""A migrated store is made once and copied for each test."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.store import Store
from remediation.sample import NOW_S
from tests.unit.remediation.bench import Bench, stores


@pytest.fixture(scope="session")
def store_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of an empty, migrated store."""
    path = tmp_path_factory.mktemp("store") / "template.db"
    store = Store(f"sqlite:///{path}", ManualClock(NOW_S))
    store.migrate()
    store.close()
    return path


@pytest.fixture
def fresh_stores(store_template: Path, tmp_path: Path) -> Iterator[Store]:
    """As many stores as a test wants."""
    return stores(store_template, tmp_path)


@pytest.fixture
def bench(fresh_stores: Iterator[Store]) -> Iterator[Bench]:
    """A workbench of a pool that acts by itself."""
    store = next(fresh_stores)
    yield Bench(store)
    store.close()
