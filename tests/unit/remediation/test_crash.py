"""A worker killed at every boundary: another one ends where an uninterrupted one would have, and
every change reached the world exactly once."""

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from fleetmend.model.plans import SessionState
from fleetmend.ports.cluster import Cluster
from fleetmend.ports.engine import EngineControl
from fleetmend.ports.traffic import Traffic
from fleetmend.store import Store
from remediation.ledger import Ledger
from remediation.sample import engine_id, sample_incident
from remediation.world import Notices, Ports
from tests.unit.remediation.bench import BOTH, Bench


class Killed(BaseException):
    """The process ends here: nothing may catch it."""


class Fuse:
    """Counts the boundaries that are passed and kills at one of them."""

    def __init__(self, at: int | None) -> None:
        self.at = at
        self.passed = 0

    def __call__(self) -> None:
        self.passed += 1
        if self.passed == self.at:
            raise Killed


class Wired:
    """Anything, with a fuse before and after each call of a method."""

    def __init__(self, inner: object, fuse: Fuse) -> None:
        self._inner = inner
        self._fuse = fuse

    def __getattr__(self, name: str) -> Any:  # stands for any port or ledger
        found = getattr(self._inner, name)
        if not callable(found):
            return found

        def call(*args: object, **kwargs: object) -> object:
            self._fuse()
            result = found(*args, **kwargs)
            self._fuse()
            return result

        return call


def lost_gpu(bench: Bench) -> str:
    return bench.lost_gpu().id


def hung_engine(bench: Bench) -> str:
    incident = sample_incident(
        cause="engine_hang", entity=engine_id(0), witnesses=BOTH, symptom="no_progress"
    )
    session = bench.happen(incident)
    assert session is not None
    return session.id


def live(bench: Bench, open_session: Callable[[Bench], str], fuse: Fuse) -> str:
    """A fault, its treatment, its end. A worker that dies is followed by another one after its
    lease has run out."""
    ports = bench.ports
    wired = Ports(
        cast(Cluster, Wired(ports.cluster, fuse)),
        cast(Traffic, Wired(ports.traffic, fuse)),
        cast(EngineControl, Wired(ports.engines, fuse)),
        cast(Notices, Wired(ports.notices, fuse)),
    )
    ledger = cast(Ledger, Wired(bench.ledger, fuse))
    session_id = open_session(bench)

    def until(over: frozenset[SessionState]) -> None:
        worker = bench.new_worker(ledger, wired)
        for _ in range(40):
            try:
                bench.work(1.0, worker)
            except Killed:
                bench.clock.sleep(bench.settings.lease_s + 1)
                worker = bench.new_worker(ledger, wired)
            if bench.session(session_id).state in over:
                return
        raise AssertionError(f"the session is stuck in {bench.session(session_id).state}")

    until(frozenset({SessionState.HOLDING}))
    bench.resolve()
    until(frozenset({SessionState.DONE}))
    return session_id


def outcome(bench: Bench, session_id: str) -> tuple[object, ...]:
    """Everything that must be the same; who found a step done is a matter of the crash."""
    session = bench.session(session_id)
    done = ("done", "found_done")
    return (
        session.state,
        session.reason,
        [r.state.value in done for r in (*session.steps, *session.give_back)],
        bench.cluster.changes,
        bench.traffic.changes,
        bench.engines.changes,
        [(n.unschedulable, n.taints, n.session) for n in bench.cluster.nodes.values()],
        {engine: (b.weight, b.operation) for engine, b in bench.traffic.backends.items()},
        sorted(bench.cluster.pods),
        bench.notes(),
        bench.published(),
        bench.audit_holds(),
    )


def killed_at_every(
    stores: Iterator[Store], story: Callable[[Bench], str], *, stride: int
) -> tuple[int, list[int]]:
    """How many boundaries there are, and those (every `stride`-th was tried) that end otherwise."""
    fuse = Fuse(at=None)
    whole = Bench(next(stores))
    wanted = outcome(whole, live(whole, story, fuse))
    assert wanted[-1] is True, "the audit chain of the uninterrupted run is broken"
    wrong = []
    for boundary in range(1, fuse.passed + 1, stride):
        bench = Bench(next(stores))
        if outcome(bench, live(bench, story, Fuse(at=boundary))) != wanted:
            wrong.append(boundary)
        bench.store.close()
    return fuse.passed, wrong


@pytest.mark.parametrize(("story", "stride"), [(lost_gpu, 13), (hung_engine, 17)])
def test_a_kill_changes_nothing(
    fresh_stores: Iterator[Store], story: Callable[[Bench], str], stride: int
) -> None:
    """A sample of the boundaries; `tests/flow/test_every_kill.py` tries them all."""
    boundaries, wrong = killed_at_every(fresh_stores, story, stride=stride)

    assert boundaries > 80
    assert wrong == []
