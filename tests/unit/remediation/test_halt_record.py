"""Every change of the halt is in the audit log once, whoever made it and however many saw it."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from fleetmend.errors import StoreError
from fleetmend.model.audit import AuditRecord, AuditVerb
from fleetmend.ports.halt import HaltState
from fleetmend.store import Store
from remediation.halt import FileHalt
from remediation.halt_record import LOOK_S, SUBJECT, record_halt
from remediation.sample import NOW_S
from remediation.service import RemediationService
from tests.unit.remediation.bench import RUNBOOKS, Bench

HALTED = HaltState(True, "ada", "storm", NOW_S + 5.0)
GO = HaltState(False, "bob", "", NOW_S + 9.0)


@pytest.fixture
def switch(tmp_path: Path, bench: Bench) -> FileHalt:
    """A file as the one switch of the bench's executors."""
    made = FileHalt(tmp_path / "halt.json")
    made.create()
    bench.halt = made  # type: ignore[assignment]
    bench.executor = bench.new_worker()
    return made


def records(bench: Bench) -> list[AuditRecord]:
    with bench.store.reading() as tx:
        return tx.audit.about(SUBJECT)


def told(bench: Bench) -> list[tuple[str, AuditVerb]]:
    return [(record.actor, record.verb) for record in records(bench)]


def test_a_switch_that_nobody_has_touched_is_not_on_record(bench: Bench, switch: FileHalt) -> None:
    bench.work(3)

    assert records(bench) == []


def test_what_is_set_behind_our_back_is_seen_and_kept_once(
    bench: Bench, switch: FileHalt, tmp_path: Path
) -> None:
    workers = [bench.executor, bench.new_worker(), bench.new_worker()]
    for state in (HALTED, GO):
        switch.set(state)
        for worker in workers:
            bench.work(3, worker)

    assert told(bench) == [("ada", AuditVerb.HALTED), ("bob", AuditVerb.UNHALTED)]
    assert records(bench)[0].detail == {
        "reason": "storm",
        "switch": str(tmp_path / "halt.json"),
        "since_s": HALTED.since_s,
        "seen_by": "fleetmend/remediator",
    }
    assert bench.audit_holds()


def test_an_executor_that_starts_again_says_nothing_twice(bench: Bench, switch: FileHalt) -> None:
    switch.set(HALTED)
    bench.work(3)
    bench.work(3, bench.new_worker())

    assert told(bench) == [("ada", AuditVerb.HALTED)]


def test_what_the_service_sets_is_not_recorded_again(bench: Bench, switch: FileHalt) -> None:
    service = RemediationService(
        bench.store, bench.clock, halt=switch, runbooks=RUNBOOKS, approval_ttl_s=900.0
    )
    service.halt("ada", "storm")
    bench.work(3)
    service.resume("bob")
    bench.work(3)
    service.halt("ada", "storm")
    bench.work(3)

    halted, resumed = ("ada", AuditVerb.HALTED), ("bob", AuditVerb.UNHALTED)
    assert told(bench) == [halted, resumed, halted]


def test_a_switch_that_is_lost_and_found_again_is_on_record(
    bench: Bench, switch: FileHalt, tmp_path: Path
) -> None:
    switch.set(GO)
    bench.work(3)
    (tmp_path / "halt.json").unlink()
    bench.work(3)
    switch.set(GO)
    bench.work(3)

    go = ("bob", AuditVerb.UNHALTED)
    assert told(bench) == [go, ("unknown", AuditVerb.HALTED), go]


def test_a_record_that_could_not_be_kept_is_kept_at_the_next_look(
    bench: Bench, switch: FileHalt, monkeypatch: pytest.MonkeyPatch
) -> None:
    switch.set(HALTED)
    really, times = bench.ledger.halt_seen, iter([1])

    def halt_seen(state: HaltState) -> None:
        if next(times, 0):
            raise StoreError("gone")
        really(state)

    monkeypatch.setattr(bench.ledger, "halt_seen", halt_seen)
    bench.work(LOOK_S)
    assert (records(bench), bench.executor.failures["StoreError"]) == ([], 1)
    bench.work(3 * LOOK_S)

    assert told(bench) == [("ada", AuditVerb.HALTED)]


def test_several_at_the_same_moment_keep_one_record(fresh_stores: Iterator[Store]) -> None:
    bench = Bench(next(fresh_stores))
    together = threading.Barrier(4, timeout=10.0)

    def see(number: int) -> bool:
        together.wait()
        return record_halt(bench.store, HALTED, now_s=NOW_S, seen_by=f"worker-{number}")

    with ThreadPoolExecutor(4) as pool:
        kept = list(pool.map(see, range(4)))

    assert sorted(kept) == [False, False, False, True]
    assert told(bench) == [("ada", AuditVerb.HALTED)]
