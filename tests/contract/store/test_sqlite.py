"""The store's contract on SQLite."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.store import Store
from tests.contract.store.contract import StoreContract, fresh_store


class TestSqlite(StoreContract):
    """One file, one machine."""

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        """A store of the test's own."""
        store = fresh_store(f"sqlite:///{tmp_path}/store.db")
        yield store
        store.close()
