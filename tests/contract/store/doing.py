"""What the contract's tests do with a store, over and over."""

import threading
from collections.abc import Callable

from fleetmend.clock import ManualClock
from fleetmend.errors import StoreError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.plans import (
    Session,
    SessionState,
)
from fleetmend.settings.store import StoreSettings
from fleetmend.store import (
    Store,
    Transaction,
)
from tests.contract.store.samples import NODE, plan, with_plan

SETTINGS = StoreSettings(dead_letters_max=5, series_points_max=20, series_max=2)
"""Small bounds, so that the tests reach them."""


def fresh_store(url: str) -> Store:
    """A migrated store at a clock that stands."""
    store = Store(url, ManualClock(1000.0), settings=SETTINGS)
    store.migrate()
    return store


class UndoneOnPurpose(Exception):
    """Raised by a test inside a transaction."""


def opened(store: Store, *, node: EntityId = NODE, id: str = "p-1") -> Session:
    """A session of a plan of its own."""
    with store.transaction() as tx:
        return tx.sessions.open(
            with_plan(tx, plan(id, node=node)), state=SessionState.PROPOSED, at_s=120.0
        )


def claimed(store: Store, worker: str, *, now_s: float, lease_s: float = 30.0) -> Session | None:
    """What `worker` gets."""
    with store.transaction() as tx:
        return tx.sessions.claim(worker, now_s=now_s, lease_s=lease_s)


def note(tx: Transaction, subject: str, **detail: str | int | float | bool | None) -> int:
    """Append an audit record; its number."""
    record = tx.audit.append(
        at_s=1.5, actor="fleetmend/test", verb=AuditVerb.NOTE, subject=subject, detail=detail
    )
    return record.seq


def write_and_raise(tx: Transaction) -> None:
    """Do something, then end the transaction by an error."""
    with_plan(tx)
    note(tx, "i-1")
    raise UndoneOnPurpose


def all_at_once(work: Callable[[int], None], workers: int) -> list[Exception]:
    """Run `work(0) .. work(workers - 1)` in threads that start together; the StoreErrors that
    ended them."""
    start = threading.Barrier(workers)
    ended: list[int] = []
    raised: list[Exception] = []

    def run(number: int) -> None:
        start.wait(30)
        try:
            work(number)
        except StoreError as error:
            raised.append(error)
        ended.append(number)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(ended) == workers, "a thread died of something else or hangs"
    return raised
