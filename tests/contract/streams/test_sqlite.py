"""The embedded log keeps the contract, and what is its own: one process, retention by age."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import OffsetsLost, StreamError
from fleetmend.streams.port import Log, TopicPartition
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import SPECS, Topic
from tests.contract.streams.log_contract import LogContract, Opener, drain, mark, number, place


class MovableClock(SystemClock):
    """Real waiting, but the time can be moved on."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def now_s(self) -> float:
        return super().now_s() + self.ahead_s

    def monotonic_s(self) -> float:
        return super().monotonic_s() + self.ahead_s


class TestFile(LogContract):
    """The contract on a file."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> str:
        return str(tmp_path / "new folder" / "log.db")

    @pytest.fixture
    def opener(self, path: str) -> Opener:
        self.clock = MovableClock()
        return lambda: SqliteLog(path, clock=self.clock, partitions=4)

    def forget_all(self, log: Log, where: TopicPartition) -> None:
        self.clock.ahead_s += SPECS[where.topic].retention_s + 61
        log.append([mark(0, partition=3, topic=where.topic)])


class TestMemory(TestFile):
    """The contract in memory, where nothing survives."""

    @pytest.fixture
    def path(self) -> str:
        return ":memory:"

    def test_what_was_appended_is_there_after_opening_again(self, opener: Opener) -> None:
        log = opener()
        log.append([mark(1)])
        log.close()
        again = opener()

        assert again.end(place()) == 0
        again.close()


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "log.db")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(1_800_000_000.0)


@pytest.fixture
def log(path: str, clock: ManualClock) -> Iterator[SqliteLog]:
    log = SqliteLog(path, clock=clock, partitions=4)
    yield log
    log.close()


CHILD = """
import sys
from fleetmend.clock import SystemClock
from fleetmend.streams.sqlite import SqliteLog
from tests.contract.streams.log_contract import mark
log = SqliteLog(sys.argv[1], clock=SystemClock(), partitions=4)
log.append([mark(n) for n in range(100)])
print("ready", flush=True)
sys.stdin.read()
"""


def child(path: str) -> subprocess.Popen[str]:
    """Another process that has the log open and holds it."""
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[3],
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_a_second_process_is_refused_by_name(path: str, clock: ManualClock) -> None:
    with child(path) as process:
        with pytest.raises(StreamError, match=f"in use by process {process.pid}.*kafka"):
            SqliteLog(path, clock=clock, partitions=4)
        process.kill()


def test_a_second_log_of_this_process_is_refused_too(log: SqliteLog, path: str) -> None:
    with pytest.raises(StreamError, match=f"in use by process {os.getpid()}"):
        SqliteLog(path, clock=SystemClock(), partitions=4)


def test_what_was_appended_survives_a_killed_process(path: str, clock: ManualClock) -> None:
    with child(path) as process:
        process.send_signal(signal.SIGKILL)
    log = SqliteLog(path, clock=clock, partitions=4)
    numbers = [number(record) for record in drain(log, {place(): 0})]
    log.close()

    assert numbers == list(range(100))


def test_offsets_go_on_counting_after_everything_has_expired(path: str, clock: ManualClock) -> None:
    """Else a reader's old position would point at a new record."""
    log = SqliteLog(path, clock=clock, partitions=4)
    log.append([mark(n) for n in range(5)])
    clock.sleep(SPECS[Topic.EVENTS].retention_s + 61)
    log.append([mark(0, topic=Topic.TICKS)])
    log.close()

    again = SqliteLog(path, clock=clock, partitions=4)
    assert (again.begin(place()), again.end(place())) == (5, 5)
    again.append([mark(5)])
    [record] = again.read({place(): 5}, limit=10)
    again.close()

    assert record.offset == 5


def test_every_topic_has_its_own_retention(log: SqliteLog, clock: ManualClock) -> None:
    for topic in (Topic.SAMPLES, Topic.EVENTS, Topic.TOPOLOGY):
        log.append([mark(1, topic=topic)])
    clock.sleep(SPECS[Topic.SAMPLES].retention_s + 61)
    log.append([mark(2, topic=Topic.TICKS)])

    assert log.begin(TopicPartition(Topic.SAMPLES, 0)) == 1
    assert log.begin(TopicPartition(Topic.EVENTS, 0)) == 0
    assert log.begin(TopicPartition(Topic.TOPOLOGY, 0)) == 0


def test_a_young_record_behind_old_ones_stays(log: SqliteLog, clock: ManualClock) -> None:
    log.append([mark(1), mark(2)])
    clock.sleep(SPECS[Topic.EVENTS].retention_s)
    log.append([mark(3)])
    clock.sleep(61)
    log.append([mark(4)])

    assert [number(record) for record in drain(log, {place(): 2})] == [3, 4]
    with pytest.raises(OffsetsLost):
        log.read({place(): 1}, limit=1)


def test_a_file_with_more_partitions_keeps_them(path: str, clock: ManualClock) -> None:
    """Keys would move between partitions and lose their order otherwise."""
    SqliteLog(path, clock=clock, partitions=8).close()
    log = SqliteLog(path, clock=clock, partitions=2)
    counts = [len(log.partitions(topic)) for topic in (Topic.SAMPLES, Topic.FINDINGS)]
    log.close()

    assert counts == [8, 1]


def test_a_file_of_another_kind_is_refused(path: str, clock: ManualClock) -> None:
    Path(path).write_bytes(b"not a database" * 100)
    with pytest.raises(StreamError, match="not a database"):
        SqliteLog(path, clock=clock, partitions=4)


def test_a_file_of_a_later_format_is_refused(path: str, clock: ManualClock) -> None:
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StreamError, match="format 99"):
        SqliteLog(path, clock=clock, partitions=4)


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StreamError, match="cannot be opened"):
        SqliteLog(str(tmp_path / "file" / "log.db"), clock=clock, partitions=4)


def test_people_can_read_the_log_with_any_sqlite(log: SqliteLog, path: str) -> None:
    log.append([mark(1), mark(2, partition=3)])
    connection = sqlite3.connect(path)
    rows = connection.execute('SELECT topic, partition, "offset", key FROM log').fetchall()
    connection.close()

    assert rows == [("events", 0, 0, "key"), ("events", 3, 0, "key")]


def test_waiting_moves_a_manual_clock(log: SqliteLog, clock: ManualClock) -> None:
    """A simulation's time passes while its stages wait."""
    before_s = clock.now_s()
    assert log.read({place(): 0}, limit=1, wait_s=2.5) == []
    assert clock.now_s() == before_s + 2.5
