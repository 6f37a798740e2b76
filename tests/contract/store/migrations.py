"""The part of the contract on: migrations, and what the tables themselves refuse."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from sqlalchemy import Connection, create_engine, exc, inspect, text

from fleetmend.clock import ManualClock
from fleetmend.model.audit import verify_chain
from fleetmend.model.entities import EntityId
from fleetmend.model.plans import SessionState
from fleetmend.store import Store, schema
from tests.contract.store.doing import all_at_once, note, opened
from tests.contract.store.samples import NODE


@contextmanager
def connected(url: str) -> Iterator[Connection]:
    """A connection that goes past the store."""
    engine = create_engine(url)
    try:
        with engine.begin() as connection:
            yield connection
    finally:
        engine.dispose()


class MigrationContract:
    """The tables come, match the code, and go."""

    def test_a_fresh_database_is_not_at_head_until_it_is_migrated(self, url: str) -> None:
        store = Store(url, ManualClock())
        assert not store.at_head()
        store.migrate()
        assert store.at_head()
        store.migrate()  # again changes nothing
        store.close()

    def test_migrations_and_tables_say_the_same(self, store: Store, url: str) -> None:
        with connected(url) as connection:
            schema.check(connection)  # raises when they differ

    def test_after_going_down_nothing_is_left_and_up_works_again(
        self, store: Store, url: str
    ) -> None:
        with connected(url) as connection:
            schema.downgrade(connection, "base")
        with connected(url) as connection:
            assert inspect(connection).get_table_names() == ["alembic_version"]
        assert not store.at_head()

        store.migrate()
        with store.transaction() as tx:
            assert note(tx, "i-1") == 1

    def test_what_sessions_hold_comes_over_the_migration_and_back(
        self, store: Store, url: str
    ) -> None:
        held, free, over = (
            opened(store, node=NODE if n == 0 else EntityId(f"demo/node/x-{n}"), id=f"p-{n}")
            for n in range(3)
        )
        with store.transaction() as tx:
            tx.sessions.let_go(free)
            tx.sessions.advance(over, state=SessionState.DONE, reason="x", at_s=130.0)

        with connected(url) as connection:
            schema.downgrade(connection, "0002")
            rows = connection.execute(text("SELECT id, node FROM sessions WHERE active"))
            assert dict(tuple(row) for row in rows) == {held.id: NODE, free.id: free.id}
        store.migrate()

        with store.reading() as tx:
            assert tx.sessions.holding([NODE]) == held
            assert tx.sessions.holding([EntityId("demo/node/x-2")]) is None

    def test_processes_that_migrate_at_once_agree(self, url: str) -> None:
        stores = [Store(url, ManualClock()) for _ in range(4)]

        assert all_at_once(lambda number: stores[number].migrate(), 4) == []

        assert [store.at_head() for store in stores] == [True] * 4
        for store in stores:
            store.close()

    @pytest.mark.parametrize(
        "statement", ["UPDATE audit SET actor = 'nobody'", "DELETE FROM audit WHERE seq = 1"]
    )
    def test_the_database_itself_refuses_to_change_the_audit_log(
        self, store: Store, url: str, statement: str
    ) -> None:
        with store.transaction() as tx:
            note(tx, "i-1")

        with pytest.raises(exc.DBAPIError, match="only grows"), connected(url) as connection:
            connection.execute(text(statement))

        with store.reading() as tx:
            assert len(tx.audit.all()) == 1

    @pytest.mark.parametrize(
        "statement",
        [
            "UPDATE audit_head SET seq = 1",
            "UPDATE audit_head SET seq = seq, hash = 'x'",
            "UPDATE audit_head SET seq = seq + 2",
            "DELETE FROM audit_head",
        ],
    )
    def test_the_database_itself_refuses_to_move_the_end_of_the_audit_log_back(
        self, store: Store, url: str, statement: str
    ) -> None:
        with store.transaction() as tx:
            note(tx, "i-1")
            note(tx, "i-1")

        with pytest.raises(exc.DBAPIError, match="only grows"), connected(url) as connection:
            connection.execute(text(statement))

        with store.transaction() as tx:
            assert note(tx, "i-1") == 3

    @pytest.mark.parametrize("table", ["audit", "audit_head"])
    def test_no_row_of_the_audit_log_is_replaced_or_truncated(
        self, store: Store, url: str, table: str
    ) -> None:
        with store.transaction() as tx:
            note(tx, "i-1")
        statement = {
            "postgresql": f"TRUNCATE {table}",
            "sqlite": f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}",  # noqa: S608
        }[url.partition(":")[0].partition("+")[0]]
        with pytest.raises(exc.DBAPIError, match="only grows"), connected(url) as connection:
            connection.execute(text(statement))

    def test_a_record_changed_past_the_triggers_breaks_the_chain(
        self, store: Store, url: str
    ) -> None:
        with store.transaction() as tx:
            for subject in ("i-1", "i-2", "i-3"):
                note(tx, subject)
        with connected(url) as connection:
            for trigger in self.triggers(connection):
                connection.execute(text(trigger))
            connection.execute(text("UPDATE audit SET subject = 'i-9' WHERE seq = 2"))

        with store.reading() as tx:
            breach = verify_chain(tx.audit.all())
        assert breach is not None
        assert breach.seq == 2

    def triggers(self, connection: Connection) -> list[str]:
        """Statements that take the audit log's triggers away."""
        if connection.dialect.name == "postgresql":
            return ["ALTER TABLE audit DISABLE TRIGGER ALL"]
        return ["DROP TRIGGER audit_never_updated", "DROP TRIGGER audit_never_deleted"]
