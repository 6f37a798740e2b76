"""What the driver reports goes on at once; the rest waits for the next reading, bounded."""

import os
import threading
from collections.abc import Iterator

import pytest

import collectors.ebpf.listener
from collectors.ebpf.layout import PROCESS_EXIT, SXID, XID, Record
from collectors.ebpf.libbpf import BpfError
from collectors.ebpf.listener import Listener
from fleetmend.errors import StreamError

WAIT_S = 10.0


class PipeRing:
    """Records that the test puts in; readable while there are some, as the kernel's is."""

    def __init__(self) -> None:
        self.fd, self._in = os.pipe()
        self.broken = False
        self._lock = threading.Lock()
        self._records: list[Record] = []

    def put(self, *records: Record) -> None:
        with self._lock:
            self._records += records
            os.write(self._in, b".")

    def take(self) -> list[Record]:
        with self._lock:
            if self.broken:
                raise BpfError("ring_buffer__consume", 5)
            if self._records:
                os.read(self.fd, 4096)
            taken, self._records = self._records, []
        return taken

    def close(self) -> None:
        os.close(self.fd)
        os.close(self._in)


class Reports:
    """What was handed on, and by which thread."""

    def __init__(self) -> None:
        self.codes: list[int] = []
        self.came = threading.Semaphore(0)
        self.error: StreamError | None = None

    def __call__(self, record: Record) -> None:
        self.codes.append(record.code)
        self.came.release()
        if self.error is not None:
            raise self.error


@pytest.fixture
def ring() -> Iterator[PipeRing]:
    made = PipeRing()
    yield made
    made.close()


@pytest.fixture
def reports() -> Reports:
    return Reports()


@pytest.fixture
def listener(ring: PipeRing, reports: Reports) -> Iterator[Listener]:
    made = Listener(ring, report=reports)
    yield made
    made.close()


def test_reports_of_the_driver_do_not_wait_for_a_reading(
    ring: PipeRing, reports: Reports, listener: Listener
) -> None:
    ring.put(Record(kind=XID, code=31), Record(kind=PROCESS_EXIT, pid=7), Record(kind=SXID, code=9))

    assert all(reports.came.acquire(timeout=WAIT_S) for _ in range(2))
    assert reports.codes == [31, 9]
    assert [record.pid for record in listener.take()] == [7]
    assert listener.take() == []


def test_a_reading_takes_what_nobody_has_woken_up_for_yet(
    ring: PipeRing, listener: Listener
) -> None:
    ring.put(Record(kind=PROCESS_EXIT, pid=7))

    assert [record.pid for record in listener.take()] == [7]


def test_what_nobody_takes_is_bounded_and_counted(
    ring: PipeRing, reports: Reports, listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(collectors.ebpf.listener, "_KEPT_MAX", 3)
    ring.put(*(Record(kind=PROCESS_EXIT, pid=pid) for pid in range(5)))

    assert [record.pid for record in listener.take()] == [2, 3, 4]
    assert listener.dropped == 2


def test_a_sink_that_fails_does_not_end_the_listening(
    ring: PipeRing, reports: Reports, listener: Listener
) -> None:
    reports.error = StreamError("disk full")
    ring.put(Record(kind=XID, code=1))
    assert reports.came.acquire(timeout=WAIT_S)
    ring.put(Record(kind=XID, code=2))

    assert reports.came.acquire(timeout=WAIT_S)
    assert reports.codes == [1, 2]


def test_a_ring_that_cannot_be_read_is_told_by_the_reading(
    ring: PipeRing, listener: Listener
) -> None:
    ring.broken = True
    ring.put(Record(kind=XID, code=1))

    with pytest.raises(BpfError, match="ring_buffer__consume"):
        listener.take()
