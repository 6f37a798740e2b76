"""The store: transactions over everything that must be true after a crash.

Used by remediation and alerting to decide, by the console to show, by the command line to migrate.
The store's transaction is the truth for sessions, approvals and audit.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection

from fleetmend.clock import Clock
from fleetmend.model.audit import ChainHead, ChainWalk
from fleetmend.settings.store import StoreSettings
from fleetmend.store import schema
from fleetmend.store.audit import Audit
from fleetmend.store.auditkey import read_key
from fleetmend.store.coverage import CoverageEntries
from fleetmend.store.db import SQLITE, Db, connect, translated
from fleetmend.store.deadletters import DeadLetterBox
from fleetmend.store.decisions import Approvals, Verdicts
from fleetmend.store.evidence import EvidenceSeries, Labels, Notes
from fleetmend.store.folds import Positions, Snapshots
from fleetmend.store.incidents import Incidents
from fleetmend.store.outbox import Outbox
from fleetmend.store.plans import Plans
from fleetmend.store.receivers import Notices, ReceiversOff
from fleetmend.store.sessions import Sessions

_DEFAULTS = StoreSettings()


class Transaction:
    """One unit of work: all of it happens, or nothing. Not shared between threads."""

    def __init__(self, db: Db, audit_key: bytes) -> None:
        self.incidents = Incidents(db)
        self.plans = Plans(db)
        self.sessions = Sessions(db)
        self.approvals = Approvals(db)
        self.verdicts = Verdicts(db)
        self.audit = Audit(db, audit_key)
        self.outbox = Outbox(db)
        self.dead_letters = DeadLetterBox(db)
        self.snapshots = Snapshots(db)
        self.positions = Positions(db)
        self.series = EvidenceSeries(db)
        self.notes = Notes(db)
        self.labels = Labels(db)
        self.notices = Notices(db)
        self.receivers_off = ReceiversOff(db)
        self.coverage = CoverageEntries(db)


class Store:
    """A database; usable from any number of threads. No connection is made before it is used."""

    def __init__(self, url: str, clock: Clock, *, settings: StoreSettings = _DEFAULTS) -> None:
        """`url` wins over `settings.url`. Raises SettingsError when it, or the audit log's key,
        cannot be used."""
        self._engine = connect(url, settings)
        self._audit_key = read_key(settings.audit_key_file)
        self._clock = clock
        self._settings = settings

    def migrate(self) -> None:
        """Bring the tables to the newest form. Safe to call from several processes at once."""
        with translated("migration"), self._engine.begin() as connection:
            schema.upgrade(connection)

    def at_head(self) -> bool:
        """Whether the tables have the form that this code expects."""
        with translated("migration"), self._reading() as connection:
            return schema.revision_of(connection) == schema.HEAD

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Committed at the end of the block, undone when it raises. On SQLite one writes at a
        time: keep it short, and never wait for the outside world in it. Raises StoreError; after
        one inside the block nothing more can be done in it but leave."""
        with translated("store"), self._engine.begin() as connection:
            yield self._unit(connection)

    @contextmanager
    def reading(self) -> Iterator[Transaction]:
        """A view of one moment, for pages that only show: takes no lock, and writing raises
        StoreError."""
        with translated("store"), self._reading() as connection:
            yield self._unit(connection)

    def walk(self, *, through: ChainHead | None = None) -> ChainWalk:
        """A walk along the audit log, with its key; `through` is a head that it must pass."""
        return ChainWalk(self._audit_key, through=through)

    def close(self) -> None:
        """Let go of all connections."""
        self._engine.dispose()

    def _unit(self, connection: Connection) -> Transaction:
        db = Db(connection, clock=self._clock, settings=self._settings)
        return Transaction(db, self._audit_key)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        if self._engine.dialect.name != SQLITE:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
            with self._engine.connect() as raw, raw.execution_options(**options).begin():
                yield raw
            return
        with self._engine.connect() as raw, raw.execution_options(fleetmend_reading=True).begin():
            raw.exec_driver_sql("PRAGMA query_only=ON")
            try:
                yield raw
            finally:
                raw.exec_driver_sql("PRAGMA query_only=OFF")
