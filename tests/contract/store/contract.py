"""What every database must do for the store. SQLite and PostgreSQL run the same tests.

A subclass brings the fixture `url`: a fresh database of the test's own.
"""

from collections.abc import Iterator

import pytest

from fleetmend.store import Store
from tests.contract.store.coverage import CoverageContract
from tests.contract.store.decisions import DecisionContract
from tests.contract.store.delivery import DeliveryContract
from tests.contract.store.doing import fresh_store
from tests.contract.store.folds import FoldContract
from tests.contract.store.incidents import IncidentContract
from tests.contract.store.migrations import MigrationContract
from tests.contract.store.sessions import SessionContract
from tests.contract.store.transactions import TransactionContract


class StoreContract(
    TransactionContract,
    IncidentContract,
    SessionContract,
    DecisionContract,
    DeliveryContract,
    FoldContract,
    CoverageContract,
    MigrationContract,
):
    """All of it."""

    @pytest.fixture
    def store(self, url: str) -> Iterator[Store]:
        """A migrated store of the test's own."""
        store = fresh_store(url)
        yield store
        store.close()
