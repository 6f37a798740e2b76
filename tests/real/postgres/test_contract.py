"""The store's contract on PostgreSQL."""

import pytest

from tests.contract.store.contract import StoreContract


@pytest.mark.postgres
class TestPostgres(StoreContract):
    """A server, any number of processes."""

    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        """A fresh database."""
        return postgres_url
