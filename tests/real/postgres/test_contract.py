"""The store's contract on PostgreSQL."""

from collections.abc import Iterator

import pytest

from fleetmend.store import Store
from tests.contract.store.contract import StoreContract, fresh_store


@pytest.mark.postgres
class TestPostgres(StoreContract):
    """A server, any number of processes."""

    @pytest.fixture
    def store(self, postgres_url: str) -> Iterator[Store]:
        """A store of the test's own."""
        store = fresh_store(postgres_url)
        yield store
        store.close()
