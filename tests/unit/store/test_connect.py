"""Databases that cannot be used are refused by name, and unreachable ones harm nobody."""

import logging
import sqlite3
from pathlib import Path

import pytest

from deploy.parts.process import free_port
from fleetmend.clock import ManualClock
from fleetmend.errors import SettingsError, StoreError
from fleetmend.model.entities import EntityId
from fleetmend.model.plans import ActionKind, Effect, Plan, Step
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.settings.store import StoreSettings
from fleetmend.store import Store, StoreDeadLetters, nodes_held_by

QUICK = StoreSettings(busy_timeout_s=0.2)


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("sqlite://", "without a file"),
        ("sqlite:///:memory:", "without a file"),
        ("mysql://root:geheim@db/fleet", "'mysql' is no database"),
        ("var/store.db geheim", "cannot be read"),
        ("", "cannot be read"),
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_repeating_it(
    url: str, complaint: str
) -> None:
    with pytest.raises(SettingsError, match=complaint) as error:
        Store(url, ManualClock())
    assert "geheim" not in str(error.value)


def test_a_server_that_is_not_there_is_a_store_error_without_the_password() -> None:
    url = f"postgresql://fleetmend:geheim@127.0.0.1:{free_port()}/fleet"
    store = Store(url, ManualClock(), settings=QUICK)

    with pytest.raises(StoreError) as error, store.transaction():
        pytest.fail("a transaction without a server")
    assert "geheim" not in str(error.value)
    with pytest.raises(StoreError):
        store.at_head()


def test_a_dead_letter_that_cannot_be_kept_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    store = Store(f"postgresql://x@127.0.0.1:{free_port()}/x", ManualClock(), settings=QUICK)
    with caplog.at_level(logging.WARNING):
        StoreDeadLetters(store).put(DeadLetter(1.0, "scrape", "line 1", "no number", b"x"))

    assert [record.message for record in caplog.records] == ["dead letter lost"]


def test_a_file_that_is_no_database_is_a_store_error(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"this is not a database, but it is long enough to be one" * 20)
    store = Store(f"sqlite:///{path}", ManualClock())

    with pytest.raises(StoreError, match="not a database"):
        store.migrate()
    store.close()


def test_a_file_that_is_locked_is_a_store_error_after_the_timeout(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    store = Store(f"sqlite:///{path}", ManualClock(), settings=QUICK)
    store.migrate()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with pytest.raises(StoreError, match="locked"), store.transaction():
            pytest.fail("a transaction in spite of the lock")
        with store.reading() as tx:
            assert tx.audit.all() == []
    finally:
        other.close()
        store.close()


@pytest.mark.parametrize(
    ("targets", "domain", "nodes"),
    [
        (["d/engine/e", "d/node/a"], "d/rack/r", ["d/node/a"]),
        (["d/node/b", "d/node/a", "d/node/b"], "d/rack/r", ["d/node/a", "d/node/b"]),
        (["d/engine/e"], "d/node/b", ["d/node/b"]),
        (["d/engine/e"], "d/rack/r", ["d/gpu/g"]),
        ([], "d/node/b", ["d/node/b"]),
    ],
)
def test_a_session_holds_the_nodes_that_its_plan_touches(
    targets: list[str], domain: str, nodes: list[str]
) -> None:
    steps = tuple(
        Step(index, ActionKind.CORDON, Effect.REVERSIBLE, EntityId(target))
        for index, target in enumerate(targets)
    )
    entity, place = EntityId("d/gpu/g"), EntityId(domain)
    plan = Plan("p", 1, "i", 1, "r", 1, "c", entity, "pool", place, steps, 0.0)

    assert nodes_held_by(plan) == tuple(nodes)
