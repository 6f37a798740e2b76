"""What one worker process does in the claiming test. Imported by name in a process of its own."""

from fleetmend.clock import ManualClock
from fleetmend.errors import FenceLost
from fleetmend.model.plans import StepRecord, StepState
from fleetmend.store import Store


def claim_for_long(url: str, worker: str) -> list[tuple[str, int]]:
    """Claim sessions, with leases that do not run out, until there is none left: ids and fences."""
    store = Store(url, ManualClock())
    claims: list[tuple[str, int]] = []
    while True:
        with store.transaction() as tx:
            session = tx.sessions.claim(worker, now_s=1000.0, lease_s=1000.0)
        if session is None:
            store.close()
            return claims
        claims.append((session.id, session.fence))


def fight(url: str, worker: str) -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
    """Claim 60 times with leases that run out at once, and write a step each time: the claims, and
    those of them whose writing was allowed."""
    store = Store(url, ManualClock())
    claims: list[tuple[str, int]] = []
    wrote: list[tuple[str, int]] = []
    for turn in range(60):
        with store.transaction() as tx:
            session = tx.sessions.claim(worker, now_s=1000.0 + turn, lease_s=0.0)
        if session is None:
            continue
        claims.append((session.id, session.fence))
        done = StepRecord(0, StepState.DONE, 1000.0, attempt=session.fence, detail=worker)
        try:
            with store.transaction() as tx:
                tx.sessions.step(session, done)
        except FenceLost:
            continue
        wrote.append((session.id, session.fence))
    store.close()
    return claims, wrote
