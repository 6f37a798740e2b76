"""The book of the coverage ledger: every entry once, over restarts and a store that fails."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.coveragebook import CoverageBook
from fleetmend.errors import StoreError
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.store import Store
from fleetmend.streams.port import Outgoing
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import SPECS, Topic
from fleetmend.testing import MemoryDeadLetters

GPU = entity_id("lab", EntityKind.GPU, "GPU-1")
OTHER = entity_id("lab", EntityKind.GPU, "GPU-2")


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    made = Store(f"sqlite:///{tmp_path}/store.db", clock)
    made.migrate()
    yield made
    made.close()


def book(log: SqliteLog, store: Store, clock: ManualClock) -> CoverageBook:
    return CoverageBook(log, store, dead_letters=MemoryDeadLetters(), clock=clock)


def say(log: SqliteLog, *entries: Coverage) -> None:
    log.append([Outgoing(Topic.COVERAGE, "lab", entry) for entry in entries])


def kept(store: Store) -> list[Coverage]:
    with store.reading() as tx:
        return tx.coverage.page()


def test_entries_outlive_the_process_and_are_read_once(
    log: SqliteLog, store: Store, clock: ManualClock
) -> None:
    first, second = (Coverage(e, 1.0, Freshness.FRESH, 0.0) for e in (GPU, OTHER))
    say(log, first, second)
    assert book(log, store, clock).step() == 2

    again = book(log, store, clock)
    assert (again.step(), kept(store)) == (0, [first, second])
    late = Coverage(GPU, 2.0, Freshness.LATE, 2.0)
    say(log, late)
    assert (again.step(), kept(store)) == (1, [late, second])


def test_of_several_entries_of_one_entity_the_last_stays(
    log: SqliteLog, store: Store, clock: ManualClock
) -> None:
    say(log, *(Coverage(GPU, at, Freshness.FRESH, 0.0) for at in (1.0, 2.0, 3.0)))
    book(log, store, clock).step()
    assert [entry.at_s for entry in kept(store)] == [3.0]


def test_what_could_not_be_kept_is_read_again(
    log: SqliteLog, store: Store, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = book(log, store, clock)
    say(log, Coverage(OTHER, 1.0, Freshness.FRESH, 0.0))
    subject.step()
    say(log, Coverage(GPU, 1.0, Freshness.FRESH, 0.0))

    def down(_store: Store) -> None:
        raise StoreError("is down")

    with monkeypatch.context() as broken:
        broken.setattr(Store, "transaction", down)
        with pytest.raises(StoreError):
            subject.step()
    assert len(kept(store)) == 1
    assert subject.step() == 1
    assert len(kept(store)) == 2


def test_lost_records_are_counted_and_what_is_held_stays(
    log: SqliteLog, store: Store, clock: ManualClock
) -> None:
    say(log, Coverage(GPU, 1.0, Freshness.FRESH, 0.0))
    subject = book(log, store, clock)
    subject.step()
    say(log, Coverage(OTHER, 2.0, Freshness.FRESH, 0.0))
    clock.sleep(SPECS[Topic.COVERAGE].retention_s + 61)
    say(log, Coverage(OTHER, 3.0, Freshness.LATE, 3.0))
    while subject.step():
        pass
    assert subject.losses == 1
    assert [(entry.entity, entry.at_s) for entry in kept(store)] == [(GPU, 1.0), (OTHER, 3.0)]
