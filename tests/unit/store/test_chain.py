"""The audit chain against who can rewrite the database: what each defence notices."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.errors import BadInput, SettingsError
from fleetmend.model.audit import (
    GENESIS,
    AuditRecord,
    AuditVerb,
    Breach,
    ChainHead,
    ChainWalk,
    record_hash,
    verify_chain,
)
from fleetmend.settings.store import StoreSettings
from fleetmend.store import Store

KEY = b"k" * 32


def chain(*actors: str, key: bytes = b"", after: AuditRecord | None = None) -> list[AuditRecord]:
    """Records that follow each other."""
    made: list[AuditRecord] = []
    last = after
    for actor in actors:
        seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
        bare = AuditRecord(seq, 1.0, actor, AuditVerb.NOTE, "i-1", {}, prev_hash=prev)
        last = replace(bare, hash=record_hash(bare, key))
        made.append(last)
    return made


def head(records: list[AuditRecord]) -> ChainHead:
    return ChainHead(records[-1].seq, records[-1].hash)


def whole(records: list[AuditRecord], **kinds: ChainHead) -> Breach | None:
    """What a walk with the key says of a chain that ends where it says."""
    walk = ChainWalk(KEY, **kinds)
    return walk.take(records) or walk.end(head(records))


def test_a_chain_with_the_key_holds_with_the_key_alone() -> None:
    records = chain("a", "b", "c", key=KEY)

    assert verify_chain(records, key=KEY) is None
    assert verify_chain(records) == Breach(1, "content was changed")
    assert verify_chain(records, key=b"x" * 32) == Breach(1, "content was changed")


def test_a_chain_rewritten_without_the_key_is_noticed() -> None:
    forged = chain("a", "mallory", "c")

    assert verify_chain(forged) is None  # a chain without a key is no defence against its owner
    assert whole(forged) == Breach(1, "no record carries the key that is set")


def test_records_from_before_the_key_are_covered_by_the_first_that_carries_it() -> None:
    old = chain("a", "b")
    new = chain("c", "d", key=KEY, after=old[-1])
    assert whole([*old, *new]) is None

    forged = chain("a", "mallory")
    assert whole([*forged, *new]) == Breach(3, "does not follow the record before it")


def test_a_record_without_the_key_after_one_with_it_is_noticed() -> None:
    keyed = chain("a", key=KEY)

    assert whole([*keyed, *chain("b", after=keyed[-1])]) == Breach(2, "written without the key")


def test_a_head_kept_elsewhere_tells_a_chain_that_was_cut_or_rewritten() -> None:
    records = chain("a", "b", "c", "d")
    kept = head(records[:3])
    assert ChainHead.parse(str(kept)) == kept

    def said(found: list[AuditRecord]) -> Breach | None:
        walk = ChainWalk(through=kept)
        return walk.take(found) or walk.end(head(found))

    assert said(records) is None
    assert said(records[:2]) == Breach(3, "cut off: the log was once verified to 3")
    rewritten = chain("a", "b", "mallory", "d")
    assert said(rewritten) == Breach(3, "not the record that it once was")


@pytest.mark.parametrize("text", ["", "3", "x:" + "0" * 64, "3:abc", "-1:" + "0" * 64])
def test_what_is_no_head_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        ChainHead.parse(text)


def test_a_stored_end_that_is_not_the_last_record_is_noticed() -> None:
    records = chain("a", "b", "c")
    walk = ChainWalk()
    assert walk.take(records) is None

    assert walk.end(head(records[:2])) == Breach(3, "the stored head is not the last record 3")
    assert walk.end(ChainHead(9, GENESIS)) == Breach(4, "record missing: the log once reached 9")


def test_a_store_with_a_key_writes_what_only_the_key_verifies(tmp_path: Path) -> None:
    key = tmp_path / "audit.key"
    key.write_bytes(KEY + b"\n")
    keyed = StoreSettings(audit_key_file=str(key))
    store = Store(f"sqlite:///{tmp_path}/s.db", ManualClock(), settings=keyed)
    store.migrate()
    with store.transaction() as tx:
        tx.audit.append(at_s=1.0, actor="a", verb=AuditVerb.NOTE, subject="i-1", detail={})
    with store.reading() as tx:
        records, end = tx.audit.all(), tx.audit.end()

    assert end == head(records)
    assert verify_chain(records) is not None
    walk = store.walk()
    assert (walk.take(records), walk.end(end), walk.keyed_from) == (None, None, 1)
    store.close()
    with sqlite3.connect(tmp_path / "s.db") as raw:
        assert KEY.decode() not in "".join(raw.iterdump())


@pytest.mark.parametrize("write", [lambda path: None, lambda path: path.write_text("too short\n")])
def test_a_key_that_cannot_serve_stops_the_start(
    tmp_path: Path, write: Callable[[Path], object]
) -> None:
    write(tmp_path / "audit.key")
    with pytest.raises(SettingsError, match=r"store\.audit_key_file"):
        Store(
            f"sqlite:///{tmp_path}/s.db",
            ManualClock(),
            settings=StoreSettings(audit_key_file=str(tmp_path / "audit.key")),
        )
