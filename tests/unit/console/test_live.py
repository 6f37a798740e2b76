"""The live stream: what is published, who hears it, what a reader that was away is told."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from console.deps import ConsoleDeps
from console.live.chain import ChainWatch
from console.live.changes import Changes
from console.live.hub import Data, Hub
from console.server import ConsoleServer
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import IncidentStatus
from fleetmend.model.plans import SessionState
from fleetmend.settings.console import ConsoleSettings
from tests.unit.console.builder import MADE, NOW_S, incident, open_store
from tests.unit.console.client import Bench
from tests.unit.console.fakes import decisions


def hub(events_max: int = 16) -> Hub:
    return Hub(epoch="e1", events_max=events_max, heartbeat_s=0.05)


def beat() -> Data:
    return {"now_s": 1.0}


def parsed(wire: bytes) -> tuple[str, str, Data]:
    """Kind, id and data of one event on the wire."""
    fields = dict(line.split(": ", 1) for line in wire.decode().strip().splitlines())
    return fields["event"], fields["id"], json.loads(fields["data"])


async def take(stream: AsyncIterator[bytes], count: int) -> list[tuple[str, str, Data]]:
    return [parsed(await anext(stream)) for _ in range(count)]


def test_a_reader_hears_what_comes_after_it_has_come() -> None:
    async def run() -> None:
        made = hub()
        made.publish("incident", {"id": "old"})
        stream = made.follow(None, beat)
        first = await take(stream, 1)
        made.publish("incident", {"id": "new"})
        told = first + await take(stream, 1)
        assert [(kind, data.get("id")) for kind, _, data in told] == [
            ("beat", None),
            ("incident", "new"),
        ]

    asyncio.run(run())


def test_a_reader_that_comes_back_hears_what_it_missed() -> None:
    async def run() -> None:
        made = hub()
        for i in range(5):
            made.publish("incident", {"id": str(i)})
        told = await take(made.follow("e1-2", beat), 4)
        assert [data.get("id") for _, _, data in told[1:]] == ["2", "3", "4"]
        assert [name for _, name, _ in told[1:]] == ["e1-3", "e1-4", "e1-5"]

    asyncio.run(run())


@pytest.mark.parametrize("last", ["e0-2", "e1-99", "e1-", "nonsense", "e1--1", ""])
def test_a_reader_from_another_run_is_told_to_read_everything_again(last: str) -> None:
    async def run() -> None:
        made = hub()
        made.publish("incident", {"id": "1"})
        told = await take(made.follow(last, beat), 2)
        assert [kind for kind, _, _ in told] == ["beat", "resync"]
        assert told[1][1] == "e1-1"

    asyncio.run(run())


def test_a_reader_that_missed_more_than_is_kept_is_told_so() -> None:
    async def run() -> None:
        made = hub(events_max=3)
        for i in range(9):
            made.publish("incident", {"id": str(i)})
        told = await take(made.follow("e1-1", beat), 2)
        assert [kind for kind, _, _ in told] == ["beat", "resync"]

    asyncio.run(run())


def test_a_quiet_stream_beats_and_a_closed_one_ends() -> None:
    async def run() -> None:
        made = hub()
        stream = made.follow(None, beat)
        assert [kind for kind, _, _ in await take(stream, 3)] == ["beat"] * 3
        assert made.readers == 1
        made.close()
        assert [wire async for wire in stream] == []
        assert made.readers == 0

    asyncio.run(run())


def test_all_readers_get_the_same_bytes() -> None:
    async def run() -> None:
        made = hub()
        streams = [made.follow(None, beat) for _ in range(3)]
        for stream in streams:
            await anext(stream)
        made.publish("incident", {"id": "1"})
        wires = [await anext(stream) for stream in streams]
        assert wires[0] is wires[1] is wires[2]

    asyncio.run(run())


def test_a_new_version_a_session_and_an_audit_record_are_changes(fresh: Bench) -> None:
    changes = Changes(fresh.store)
    assert changes.look() == []
    assert changes.look() == []
    with fresh.store.transaction() as tx:
        held = tx.incidents.get(MADE.hot)
        assert held is not None
        tx.incidents.put(replace(held, version=held.version + 1, change="evidence_added"))
    assert [(c.kind, c.data["id"]) for c in changes.look()] == [("incident", MADE.hot)]
    with fresh.store.transaction() as tx:
        session = tx.sessions.for_incident(MADE.hot)[0]
        tx.sessions.advance(session, state=SessionState.RUNNING, reason="", at_s=NOW_S)
        tx.audit.append(
            at_s=NOW_S, actor="a", verb=AuditVerb.NOTE, subject=MADE.hot, detail={"text": "x"}
        )
    found = changes.look()
    assert [c.kind for c in found] == ["session", "audit"]
    assert found[0].data["incident"] == MADE.hot
    assert found[1].data["subjects"] == MADE.hot
    assert changes.look() == []


def test_an_incident_that_ends_is_a_change(fresh: Bench) -> None:
    changes = Changes(fresh.store)
    changes.look()
    with fresh.store.transaction() as tx:
        held = tx.incidents.get(MADE.silent)
        assert held is not None
        tx.incidents.put(
            replace(held, version=9, status=IncidentStatus.RESOLVED, resolved_at_s=NOW_S)
        )
    assert [(c.data["id"], c.data["status"]) for c in changes.look()] == [(MADE.silent, "resolved")]


def test_a_renewed_lease_is_no_news(fresh: Bench) -> None:
    changes = Changes(fresh.store)
    changes.look()
    with fresh.store.transaction() as tx:
        session = tx.sessions.for_incident(MADE.hot)[0]
        tx.sessions.renew(session, now_s=NOW_S, lease_s=60)
    assert changes.look() == []


def test_the_chain_is_walked_to_its_end_and_on(fresh: Bench) -> None:
    watch = ChainWatch(fresh.store, fresh.clock, recheck_s=600)
    state = watch.step()
    assert state.breach is None
    assert state.verified_seq == state.head_seq > 0
    with fresh.store.transaction() as tx:
        tx.audit.append(at_s=1.0, actor="a", verb=AuditVerb.NOTE, subject="s", detail={})
    assert watch.step().verified_seq == state.head_seq + 1


def test_a_record_changed_behind_the_walkers_back_is_found_by_the_next_walk(
    fresh: Bench, tmp_path: Path
) -> None:
    watch = ChainWatch(fresh.store, fresh.clock, recheck_s=600)
    watch.step()
    _without_triggers(tmp_path, "UPDATE audit SET actor = 'nobody' WHERE seq = 2")
    assert watch.step().breach is None
    fresh.clock.sleep(601)
    breach = watch.step().breach
    assert breach is not None
    assert (breach.seq, breach.what) == (2, "content was changed")
    html = fresh.client.get("/audit").text
    assert "Verifying" in html


def _without_triggers(folder: Path, *statements: str) -> None:
    """What the owner of the database can do."""
    with sqlite3.connect(folder / "console.db") as raw:
        for (name,) in raw.execute(
            "SELECT name FROM sqlite_master WHERE type='trigger'"
        ).fetchall():
            raw.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            raw.execute(statement)


def test_an_end_that_moved_back_behind_what_was_verified_is_found_at_once(
    fresh: Bench, tmp_path: Path
) -> None:
    watch = ChainWatch(fresh.store, fresh.clock, recheck_s=600)
    last = watch.step().verified_seq
    _without_triggers(
        tmp_path,
        "DELETE FROM audit WHERE seq = (SELECT max(seq) FROM audit)",
        "UPDATE audit_head SET (seq, hash) ="
        " (SELECT seq, hash FROM audit ORDER BY seq DESC LIMIT 1)",
    )
    breach = watch.step().breach
    assert breach is not None
    assert breach.seq == last
    fresh.clock.sleep(601)  # a walk from the start meets nothing wrong but the end
    breach = watch.step().breach
    assert breach is not None
    assert (breach.seq, breach.what) == (last, f"cut off: the log was once verified to {last}")


def test_the_stream_over_http_resumes_from_the_last_id(tmp_path: Path) -> None:
    clock = SystemClock()
    store = open_store(tmp_path, ManualClock(NOW_S))
    settings = ConsoleSettings(auth="local-demo", port=0, poll_s=0.02, heartbeat_s=0.2)
    server = ConsoleServer(ConsoleDeps(settings, clock, store, decisions(store, clock)))
    address = server.start()
    try:
        last = _read_until(address, "beat", None)
        with store.transaction() as tx:
            tx.incidents.put(incident("inc-9"))
        assert _read_until(address, "incident", last) != last
    finally:
        server.stop()
        store.close()


def _read_until(address: str, kind: str, last: str | None) -> str:
    """The id of the first event of a kind."""
    headers = {"last-event-id": last} if last else {}
    with httpx.stream("GET", f"{address}/api/v1/stream", headers=headers, timeout=20) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        seen = ""
        for line in answer.iter_lines():
            field, _, value = line.partition(": ")
            if field == "event":
                seen = value
            if field == "id" and seen == kind:
                return value
    raise AssertionError(f"the stream ended without {kind}")
