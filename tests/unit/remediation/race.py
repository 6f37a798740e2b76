"""Two workers that ask for the last place at the same moment: shared by the tests on both
databases."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

from fleetmend.clock import ManualClock
from fleetmend.model.plans import (
    Reason,
    Refusal,
    Session,
    SessionState,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.store import Store
from remediation.gather import Books
from remediation.sample import NOW_S, gpu_id
from remediation.store_ledger import StoreLedger
from tests.unit.remediation.bench import Bench


def admitted_of_two(store: Store) -> list[bool]:
    """Who was admitted, when both look at the books before either writes."""
    bench = Bench(store)
    for number in (0, 1):
        bench.lost_gpu(entity=gpu_id(number), incident_id=f"i-{number}")
    ledgers = [
        StoreLedger(store, ManualClock(NOW_S), role=f"r{n}", taken_window_s=600.0) for n in (0, 1)
    ]
    claimed = [ledger.claim(f"w{n}", now_s=NOW_S, lease_s=60.0) for n, ledger in enumerate(ledgers)]
    together = threading.Barrier(2, timeout=0.3)
    looked: set[int] = set()

    def ask(number: int) -> bool:
        session = claimed[number]
        assert session is not None

        def judge(books: Books) -> Verdict:
            if number not in looked:
                looked.add(number)
                # SQLite lets one look at a time: then nobody comes to meet.
                with contextlib.suppress(threading.BrokenBarrierError):
                    together.wait()
            others = [t for t in books.taken if t.out and t.session != session.id]
            reasons = (Reason(Refusal.LEVEL_EXCEEDED, "one is out"),) if others else ()
            return Verdict(session.plan, session.plan_version, 0, NOW_S, reasons)

        intent = StepRecord(0, StepState.INTENDED, NOW_S, 1)
        verdict, after = ledgers[number].decide(
            session, judge, intent=intent, giving_back=False, detail={}
        )
        assert _fits(after, verdict)
        return verdict.admitted

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(ask, (0, 1)))
    assert bench.audit_holds()
    return answers


def _fits(session: Session, verdict: Verdict) -> bool:
    """What the session says is what the verdict says."""
    wanted = (
        (SessionState.RUNNING, StepState.INTENDED)
        if verdict.admitted
        else (SessionState.WAITING, StepState.REFUSED)
    )
    return (session.state, session.steps[0].state) == wanted
