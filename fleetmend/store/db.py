"""The one way to the database: engine, dialects, and the translation of its errors.

Used by the store's repositories only. Nothing above this module sees an error of SQLAlchemy.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    URL,
    Connection,
    Engine,
    Executable,
    Row,
    Table,
    create_engine,
    event,
    exc,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from fleetmend.clock import Clock
from fleetmend.errors import SettingsError, StoreConflict, StoreError
from fleetmend.settings.store import StoreSettings

AnyRow = Row[*tuple[Any, ...]]
"""A row of columns of any type: the library types them by position only."""

POSTGRESQL = "postgresql"
SQLITE = "sqlite"

_CHANGED_MEANWHILE = frozenset({"40001", "40P01", "23505"})
"""SQLSTATE of a serialisation failure, a deadlock and a unique violation (PostgreSQL manual,
appendix A)."""


def connect(url: str, settings: StoreSettings) -> Engine:
    """An engine for `url`; no connection is made yet. Raises SettingsError for a URL that cannot
    be used."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError as error:
        raise SettingsError(
            "the database URL cannot be read",
            where="store.url",
            fix="Expected sqlite:///PATH or postgresql://USER@HOST/NAME.",
        ) from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite(parsed, settings)
        case "postgresql":
            return _postgresql(parsed, settings)
        case other:
            raise SettingsError(
                f"{other!r} is no database of this store",
                where="store.url",
                fix="Use sqlite or postgresql.",
            )


def _sqlite(url: URL, settings: StoreSettings) -> Engine:
    if url.database in (None, "", ":memory:"):
        raise SettingsError(
            "SQLite without a file would be one database per connection",
            where="store.url",
            fix="Name a file: sqlite:///var/store.db.",
        )
    Path(str(url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(
        url.set(drivername="sqlite+pysqlite"),
        connect_args={"timeout": settings.busy_timeout_s},
        pool_size=settings.connections_max,
        max_overflow=0,
        pool_timeout=settings.busy_timeout_s,
        json_serializer=_dumps,
    )

    def prepare(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        # The driver's own transactions begin late and miss reads; `begin` below begins them.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")  # an intent must outlive a power cut
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    def begin(connection: Connection) -> None:
        reading = connection.get_execution_options().get("fleetmend_reading", False)
        # A transaction that reads first and writes later cannot wait for the lock: take it now.
        connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")

    event.listen(engine, "connect", prepare)
    event.listen(engine, "begin", begin)
    return engine


def _postgresql(url: URL, settings: StoreSettings) -> Engine:
    lock_ms = int(settings.busy_timeout_s * 1000)
    return create_engine(
        url.set(drivername="postgresql+psycopg"),
        connect_args={
            "connect_timeout": max(1, round(settings.busy_timeout_s)),
            "options": f"-c lock_timeout={lock_ms} -c client_encoding=UTF8",
            "application_name": "fleetmend",
        },
        pool_size=settings.connections_max,
        max_overflow=0,
        pool_timeout=settings.busy_timeout_s,
        pool_pre_ping=True,  # after the server was restarted old connections are dead
        json_serializer=_dumps,
    )


def _dumps(value: object) -> str:
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))


@contextmanager
def translated(where: str) -> Iterator[None]:
    """Whatever SQLAlchemy raises inside comes out as StoreError or StoreConflict.

    The text of a library error may hold values and addresses; only its class and the driver's
    first line are kept, the rest hangs on as the cause.
    """
    try:
        yield
    except exc.DBAPIError as error:
        raise _from_driver(error, where) from error
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        # The driver's own: a connection that cannot be set up, a value that no column takes.
        raise StoreError(f"{type(error).__name__}: {_first_line(error)}", where=where) from error
    except exc.SQLAlchemyError as error:
        raise StoreError(f"{type(error).__name__}: {_first_line(error)}", where=where) from error


def _from_driver(error: exc.DBAPIError, where: str) -> StoreError:
    cause = error.orig
    what = f"{type(cause).__name__}: {_first_line(cause)}"
    code = getattr(cause, "sqlstate", None) or getattr(cause, "sqlite_errorname", "")
    if code in _CHANGED_MEANWHILE or code in (
        "SQLITE_CONSTRAINT_UNIQUE",
        "SQLITE_CONSTRAINT_PRIMARYKEY",
    ):
        return StoreConflict(what, where=where, fix="Read again.")
    return StoreError(what, where=where)


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [""])[0][:300]


class Db:
    """One open transaction. Rows come back as rows; errors as StoreError."""

    def __init__(self, connection: Connection, *, clock: Clock, settings: StoreSettings) -> None:
        self._connection = connection
        self.clock = clock
        self.settings = settings

    def rows(self, statement: Executable) -> Sequence[AnyRow]:
        """All rows."""
        with translated("store"):
            return self._connection.execute(statement).all()

    def row(self, statement: Executable) -> AnyRow | None:
        """The first row, or None."""
        with translated("store"):
            return self._connection.execute(statement).first()

    def number(self, statement: Executable) -> int:
        """A single number; 0 when there is none."""
        row = self.row(statement)
        return int(row[0] or 0) if row is not None else 0

    def run(self, statement: Executable) -> int:
        """Change something; the number of rows it touched."""
        with translated("store"):
            # Without the option the count of an INSERT is not kept for every driver.
            return self._connection.execute(
                statement, execution_options={"preserve_rowcount": True}
            ).rowcount

    def insert(self, table: Table) -> postgresql.Insert | sqlite.Insert:
        """An INSERT that knows ON CONFLICT (the same words in both dialects)."""
        if self._connection.dialect.name == POSTGRESQL:
            return postgresql.insert(table)
        return sqlite.insert(table)
