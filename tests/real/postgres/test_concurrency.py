"""Several processes on one PostgreSQL: leases, locks, and a server that dies."""

import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from deploy.parts.postgres import PostgresServer
from deploy.parts.process import PartFailed
from fleetmend.clock import ManualClock
from fleetmend.errors import StoreConflict, StoreError
from fleetmend.model.audit import AuditVerb, verify_chain
from fleetmend.model.entities import EntityId
from fleetmend.model.plans import SessionState
from fleetmend.settings.store import StoreSettings
from fleetmend.store import Store
from tests.contract.store.doing import all_at_once, claimed, fresh_store, note, opened
from tests.real.postgres.claimer import claim_for_long, fight

pytestmark = pytest.mark.postgres


@pytest.fixture
def store(postgres_url: str) -> Iterator[Store]:
    """A migrated store of the test's own."""
    store = fresh_store(postgres_url)
    yield store
    store.close()


@pytest.fixture(scope="module")
def processes() -> Iterator[ProcessPoolExecutor]:
    """Two workers, each a process."""
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        yield pool


def test_two_processes_never_hold_one_session(
    store: Store, postgres_url: str, processes: ProcessPoolExecutor
) -> None:
    ids = {
        opened(store, node=EntityId(f"demo/node/n-{number}"), id=f"p-{number}").id
        for number in range(40)
    }

    running = [processes.submit(claim_for_long, postgres_url, f"w-{n}") for n in range(2)]
    claims = [claim for future in running for claim in future.result(120)]

    assert sorted(claims) == sorted((id, 1) for id in ids)


def test_each_fence_is_given_once_and_only_the_newest_writes(
    store: Store, postgres_url: str, processes: ProcessPoolExecutor
) -> None:
    """Leases that run out at once: the worst that two workers can do to each other."""
    ids = [
        opened(store, node=EntityId(f"demo/node/n-{number}"), id=f"p-{number}").id
        for number in range(2)
    ]

    running = [processes.submit(fight, postgres_url, f"w-{n}") for n in range(2)]
    results = [future.result(120) for future in running]

    claims = [claim for taken, _ in results for claim in taken]
    wrote = {claim for _, written in results for claim in written}
    for id in ids:
        fences = sorted(fence for session, fence in claims if session == id)
        assert fences == list(range(1, len(fences) + 1))
        with store.reading() as tx:
            session = tx.sessions.get(id)
        assert session is not None
        assert session.fence == len(fences)
        assert session.steps[0].attempt == max(fence for one, fence in wrote if one == id)


def test_of_two_that_wait_for_each_other_one_is_told_and_one_goes_on(store: Store) -> None:
    opened(store)
    session = claimed(store, "w-1", now_s=200.0)
    assert session is not None
    both_hold = threading.Barrier(2)

    def work(number: int) -> None:
        with store.transaction() as tx:
            if number == 0:
                tx.sessions.renew(session, now_s=201.0, lease_s=30.0)
                both_hold.wait(30)
                note(tx, session.id)
            else:
                note(tx, session.id)
                both_hold.wait(30)
                tx.sessions.renew(session, now_s=202.0, lease_s=30.0)

    raised = all_at_once(work, 2)

    assert [type(error) for error in raised] == [StoreConflict]
    with store.reading() as tx:
        assert len(tx.audit.all()) == 1


def test_a_lock_is_not_waited_for_longer_than_set(store: Store, postgres_url: str) -> None:
    impatient = Store(postgres_url, ManualClock(), settings=StoreSettings(busy_timeout_s=0.1))
    with store.transaction() as tx:
        note(tx, "i-1")
        with pytest.raises(StoreError, match="lock"), impatient.transaction() as other:
            note(other, "i-2")
    impatient.close()

    with store.reading() as tx:
        assert [record.subject for record in tx.audit.all()] == ["i-1"]


class TestServerKilled:
    """The server is killed by SIGKILL while eight writers commit."""

    @pytest.fixture
    def server(self) -> Iterator[PostgresServer]:
        """A durable server of the test's own. Not in pytest's folder: another run of pytest shuts
        that for other users, and this server must be able to start again."""
        with tempfile.TemporaryDirectory(prefix="fleetmend-postgres-") as folder:
            server = PostgresServer(Path(folder), durable=True)
            yield server
            server.stop()

    def test_nothing_that_was_committed_is_lost(self, server: PostgresServer) -> None:
        store = fresh_store(server.new_database())
        session = opened(store)
        committed: list[tuple[int, str]] = []
        for kill in range(3):
            self.write_until_killed(store, server, committed, kills_before=kill)
            self.revive(server)
            with store.reading() as tx:  # the same store, over connections that died
                records = tx.audit.all()
                assert verify_chain(records) is None
                held = {(record.seq, record.subject) for record in records}
                assert set(committed) <= held
                assert tx.sessions.get(session.id) == session
        assert len(committed) >= 120

        with store.transaction() as tx:
            tx.sessions.advance(session, state=SessionState.DONE, reason="after", at_s=200.0)
        store.close()

    def write_until_killed(
        self,
        store: Store,
        server: PostgresServer,
        committed: list[tuple[int, str]],
        *,
        kills_before: int,
    ) -> None:
        """Eight threads append until the server is gone; it goes when 40 more are committed."""
        enough = threading.Event()
        goal = len(committed) + 40

        def write(number: int) -> None:
            for turn in range(100_000):
                subject = f"i-{kills_before}-{number}-{turn}"
                with store.transaction() as tx:
                    record = tx.audit.append(
                        at_s=1.0, actor="w", verb=AuditVerb.NOTE, subject=subject, detail={}
                    )
                committed.append((record.seq, subject))
                if len(committed) >= goal:
                    enough.set()

        def kill() -> None:
            enough.wait(60)
            server.daemon.kill()

        killer = threading.Thread(target=kill)
        killer.start()
        raised = all_at_once(write, 8)
        killer.join()
        assert enough.is_set()
        assert len(raised) == 8

    def revive(self, server: PostgresServer) -> None:
        """Start it again. Its orphans need a moment to leave, and until then it will not start."""
        for attempt in range(50):
            server.daemon.restart()
            try:
                server.await_ready()
            except PartFailed:
                if attempt == 49:
                    raise
            else:
                return
