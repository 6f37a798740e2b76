"""The part of the contract on: all or nothing."""

import pytest

from fleetmend.errors import StoreError
from fleetmend.store import (
    Store,
)
from tests.contract.store.doing import UndoneOnPurpose, write_and_raise
from tests.contract.store.samples import incident


class TransactionContract:
    """All or nothing."""

    def test_what_a_block_did_before_it_raised_is_undone(self, store: Store) -> None:
        with pytest.raises(UndoneOnPurpose), store.transaction() as tx:
            write_and_raise(tx)

        with store.reading() as tx:
            assert tx.incidents.get("i-1") is None
            assert tx.audit.all() == []

    def test_a_reading_transaction_cannot_write(self, store: Store) -> None:
        with pytest.raises(StoreError), store.reading() as tx:
            tx.incidents.put(incident())

        with store.transaction() as tx:  # and its connection can, once it is used for that
            assert tx.incidents.put(incident())

    def test_a_reader_sees_one_moment_and_does_not_wait_for_a_writer(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident("i-1"))
        with store.reading() as view:
            before = view.incidents.open_count()
            with store.transaction() as tx:
                tx.incidents.put(incident("i-2"))
            assert (before, view.incidents.open_count()) == (1, 1)

    def test_text_that_no_column_takes_is_a_store_error(self, store: Store) -> None:
        with pytest.raises(StoreError), store.transaction() as tx:
            tx.incidents.put(incident("i-\ud800"))
