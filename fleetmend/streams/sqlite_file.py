"""The file of the embedded log: its lock, its tables, one writer and a reader for each thread.

Used by `fleetmend.streams.sqlite` alone. SQLite's errors become StreamError here and go no further.
"""

import fcntl
import json
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleetmend.errors import OffsetsLost, StreamError
from fleetmend.streams.partition import partition_count
from fleetmend.streams.port import RawRecord, TopicPartition
from fleetmend.streams.topics import SPECS, Topic

MEMORY = ":memory:"
READ_BYTES_MAX = 32 * 1024 * 1024
"""Bytes of one read: a few hundred large batches, whatever the limit allows."""

_FORMAT = 1
_OFFSET_BITS = 44
_RETIRE_ROWS_MAX = 20_000
"""Rows deleted at one go and partition, so that no append waits long."""

# One B-tree in the order of partition and offset: a row's number holds both (partition number times
# 2^44, plus the offset). `append_s` comes before `value` so that retention never reads the overflow
# pages of large values. The view is for people.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS partitions (
    no INTEGER PRIMARY KEY, topic TEXT NOT NULL, partition INTEGER NOT NULL,
    first INTEGER NOT NULL, next INTEGER NOT NULL, UNIQUE (topic, partition));
CREATE TABLE IF NOT EXISTS records (
    id INTEGER PRIMARY KEY, append_s REAL NOT NULL, key TEXT NOT NULL, headers TEXT NOT NULL,
    value BLOB NOT NULL);
CREATE VIEW IF NOT EXISTS log AS
    SELECT topic, partition, r.id & 17592186044415 AS "offset", key, headers, append_s, value
    FROM records AS r JOIN partitions AS p ON p.no = r.id >> 44;
"""


@dataclass(frozen=True, slots=True)
class Row:
    """A record about to be written."""

    place: TopicPartition
    key: str
    headers: Mapping[str, str]
    value: bytes


@dataclass(slots=True)
class Part:
    """Where one partition stands."""

    no: int
    first: int
    """The first offset that retention has left."""
    next: int
    """One past the last offset."""

    def row(self, offset: int) -> int:
        """The number of an offset's row."""
        return self.no << _OFFSET_BITS | offset


class LogFile:
    """Safe for several threads; only one process may have the file open."""

    def __init__(self, path: str, *, partitions: int) -> None:
        """Raises StreamError when the file is in use, unreadable or of another format."""
        self._path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._connections: list[sqlite3.Connection] = []
        self._closed = False
        self._lock_file = None if path == MEMORY else _lock(path)
        try:
            with _translated(path):
                self._writer = self._connect()
                self.parts = self._layout(partitions)
        except StreamError:
            self.close()
            raise

    def insert(self, rows: Sequence[Row], *, append_s: float) -> None:
        """Write all rows or none, in one transaction, at the ends of their partitions."""
        if not rows:
            return
        with self._lock, _translated(self._path):
            ends: dict[TopicPartition, int] = {}
            numbered = []
            for row in rows:
                offset = ends.get(row.place, self.parts[row.place].next)
                number = self.parts[row.place].row(offset)
                numbered.append((number, append_s, row.key, json.dumps(row.headers), row.value))
                ends[row.place] = offset + 1
            with self._transaction():
                self._writer.executemany(
                    "INSERT INTO records (id, append_s, key, headers, value)"
                    " VALUES (?, ?, ?, ?, ?)",
                    numbered,
                )
                self._writer.executemany(
                    "UPDATE partitions SET next = ? WHERE no = ?",
                    [(end, self.parts[place].no) for place, end in ends.items()],
                )
            for place, end in ends.items():
                self.parts[place].next = end

    def select(
        self, positions: Mapping[TopicPartition, int], shares: Mapping[TopicPartition, int]
    ) -> list[RawRecord]:
        """`shares[p]` records from `positions[p]` on, fewer when they are large. Raises OffsetsLost
        when retention was faster."""
        if self._closed:
            raise StreamError("the log is closed", where=self._path)
        with _translated(self._path):
            if self._path != MEMORY:
                return _rows(self._reader(), self.parts, positions, shares)
            with self._lock:  # a second connection would see a database of its own
                return _rows(self._writer, self.parts, positions, shares)

    def retire(self, now_s: float) -> None:
        """Delete what every topic's retention has passed, a bounded number of rows."""
        with self._lock, _translated(self._path):
            for place, part in self.parts.items():
                last = min(part.next, part.first + _RETIRE_ROWS_MAX)
                kept = self._writer.execute(
                    "SELECT id FROM records WHERE id >= ? AND id < ? AND append_s >= ?"
                    " ORDER BY id LIMIT 1",
                    (part.row(part.first), part.row(last), now_s - SPECS[place.topic].retention_s),
                ).fetchone()
                first = last if kept is None else kept[0] - part.row(0)
                if first == part.first:
                    continue
                with self._transaction():
                    self._writer.execute(
                        "DELETE FROM records WHERE id >= ? AND id < ?",
                        (part.row(part.first), part.row(first)),
                    )
                    self._writer.execute(
                        "UPDATE partitions SET first = ? WHERE no = ?", (first, part.no)
                    )
                part.first = first

    def close(self) -> None:
        """Let go of the file; a second call does nothing."""
        with self._lock:
            self._closed = True
            for connection in self._connections:
                connection.close()
            self._connections.clear()
            if self._lock_file is not None:
                os.close(self._lock_file)
                self._lock_file = None

    def _connect(self) -> sqlite3.Connection:
        if self._closed:
            raise StreamError("the log is closed", where=self._path)
        connection = sqlite3.connect(
            self._path, isolation_level=None, check_same_thread=False, timeout=30.0
        )
        self._connections.append(connection)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")
        connection.execute("PRAGMA journal_size_limit=67108864")
        return connection

    def _reader(self) -> sqlite3.Connection:
        """A connection of this thread's own: readers do not wait for the writer."""
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            with self._lock:
                connection = self._connect()
            self._local.connection = connection
        return connection

    def _layout(self, wanted: int) -> dict[TopicPartition, Part]:
        """Create what is missing and read where every partition stands."""
        [[version]] = self._writer.execute("PRAGMA user_version")
        if version not in (0, _FORMAT):
            raise StreamError(f"format {version} is not known", where=self._path)
        self._writer.executescript(_SCHEMA)
        self._writer.execute(f"PRAGMA user_version={_FORMAT}")
        places = [(t.value, n) for t in Topic for n in range(partition_count(t, wanted))]
        self._writer.executemany(
            "INSERT OR IGNORE INTO partitions (topic, partition, first, next) VALUES (?, ?, 0, 0)",
            places,
        )
        rows = self._writer.execute(
            "SELECT no, topic, partition, first, next FROM partitions ORDER BY topic, partition"
        )
        return {
            TopicPartition(Topic(topic), number): Part(no, first, end)
            for no, topic, number, first, end in rows
            if topic in {known.value for known in Topic}
        }

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._writer.execute("COMMIT")
        except sqlite3.Error:
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise


def _rows(
    connection: sqlite3.Connection,
    parts: Mapping[TopicPartition, Part],
    positions: Mapping[TopicPartition, int],
    shares: Mapping[TopicPartition, int],
) -> list[RawRecord]:
    records: list[RawRecord] = []
    bytes_left = READ_BYTES_MAX
    for place, share in shares.items():
        expected = parts[place].row(positions[place])
        cursor = connection.execute(
            "SELECT id, append_s, key, headers, value FROM records"
            " WHERE id >= ? AND id < ? ORDER BY id",
            (expected, expected + share),
        )
        offset = positions[place]
        for number, append_s, key, headers, value in cursor:
            if number != expected:
                raise OffsetsLost(f"offset {offset} is not in the log", where=str(place))
            records.append(
                RawRecord(
                    place.topic, place.partition, offset, key, json.loads(headers), value, append_s
                )
            )
            expected, offset, bytes_left = expected + 1, offset + 1, bytes_left - len(value)
            if bytes_left < 0:
                return records
    return records


def _lock(path: str) -> int:
    """The lock file's descriptor; the lock goes when the process ends, however it ends."""
    try:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise StreamError(f"cannot be opened: {error}", where=path) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip()
        os.close(descriptor)
        raise StreamError(
            f"in use by process {holder or 'unknown'}",
            where=path,
            fix="The embedded log serves one process; several need engine = kafka.",
        ) from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StreamError(str(error), where=path) from error
