"""The store's contract on SQLite."""

from pathlib import Path

import pytest

from tests.contract.store.contract import StoreContract


class TestSqlite(StoreContract):
    """One file, one machine."""

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """A file that is not there yet, nor its folder."""
        return f"sqlite:///{tmp_path}/var/store.db"
