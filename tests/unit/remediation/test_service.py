"""What people decide: role, version and the first word count, and everything is on record."""

from dataclasses import replace

import pytest

from fleetmend.errors import ActionRefused, StoreError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Autonomy, Refusal, SessionState
from fleetmend.settings.remediation import PoolSettings
from fleetmend.store import AlreadyDecided
from remediation.reasons import Why
from remediation.sample import gpu_id, sample_incident
from remediation.service import RemediationService
from tests.unit.remediation.bench import BOTH, RUNBOOKS, Bench, auto


@pytest.fixture
def service(bench: Bench) -> RemediationService:
    """On a pool that asks before it acts."""
    pool = PoolSettings(autonomy=Autonomy.APPROVE, limits=bench.settings.default.limits)
    bench.settings = auto(default=pool)
    bench.executor = bench.new_worker()
    return RemediationService(
        bench.store, bench.clock, halt=bench.halt, runbooks=RUNBOOKS, approval_ttl_s=900.0
    )


def test_a_plan_waits_for_a_person_and_then_runs(bench: Bench, service: RemediationService) -> None:
    session = bench.lost_gpu()
    bench.work(3)

    waiting = service.waiting()
    assert [w.session.id for w in waiting] == [session.id]
    assert waiting[0].verdict is not None
    assert [r.refusal for r in waiting[0].verdict.reasons] == [Refusal.APPROVAL_MISSING]
    assert bench.cluster.changes == []

    made = service.approve(session.plan, 1, "ada", "console")
    bench.work()

    assert (made.by, made.expires_at_s - made.at_s) == ("ada", 900.0)
    assert bench.session(session.id).state is SessionState.HOLDING
    assert service.waiting() == []


def test_the_first_word_counts(bench: Bench, service: RemediationService) -> None:
    session = bench.lost_gpu()
    service.deny(session.plan, 1, "ada", "not now", "console")

    with pytest.raises(AlreadyDecided) as conflict:
        service.approve(session.plan, 1, "bob", "chat")

    assert conflict.value.earlier.by == "ada"


def test_a_denied_plan_ends_and_is_not_proposed_again(
    bench: Bench, service: RemediationService
) -> None:
    session = bench.lost_gpu()
    service.deny(session.plan, 1, "ada", "false alarm", "console")

    bench.work(3)

    over = bench.session(session.id)
    assert (over.state, over.reason) == (SessionState.CANCELLED, Why.DENIED)
    other = sample_incident(
        cause="gsp_timeout", entity=gpu_id(0), witnesses=BOTH, symptom="xid.119"
    )
    again = bench.happen(replace(other, version=2))
    assert again is not None
    assert again.id == session.id
    assert bench.cluster.changes == []


def test_only_the_version_that_was_seen_can_be_approved(
    bench: Bench, service: RemediationService
) -> None:
    session = bench.lost_gpu()
    other = sample_incident(
        cause="gsp_timeout", entity=gpu_id(0), witnesses=BOTH, symptom="xid.119"
    )
    bench.happen(replace(other, version=2))

    with pytest.raises(ActionRefused, match="you saw version 1, the plan is at version 2"):
        service.approve(session.plan, 1, "ada", "console")


def test_an_approval_of_an_older_version_is_stale(
    bench: Bench, service: RemediationService
) -> None:
    first = bench.lost_gpu()
    service.approve(first.plan, 1, "ada", "console")
    other = sample_incident(
        cause="gsp_timeout", entity=gpu_id(0), witnesses=BOTH, symptom="xid.119"
    )
    bench.happen(replace(other, version=2))
    second = bench.happen(replace(other, version=3))
    assert second is not None
    assert second.plan_version == 2

    bench.work(3)

    assert bench.session(second.id).reason == "approval_stale"
    assert bench.cluster.changes == []


def test_an_approval_that_ran_out_unused_can_be_given_again(
    bench: Bench, service: RemediationService
) -> None:
    first = bench.lost_gpu()
    bench.work(2)
    service.approve(first.plan, 1, "ada", "console")
    bench.clock.sleep(1000.0)
    bench.work(2)
    over = bench.session(first.id)
    assert (over.state, over.reason) == (SessionState.CANCELLED, Why.APPROVAL_EXPIRED)

    with bench.store.transaction() as tx:
        incident = tx.incidents.get("i-example")
        assert incident is not None
        bench.proposals.propose(tx, incident, now_s=bench.clock.now_s())
    service.approve(first.plan, 2, "ada", "console")
    bench.work()

    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]


@pytest.mark.parametrize("role", ["viewer", "responder", "king"])
def test_a_role_that_may_not_decide_is_refused(
    bench: Bench, service: RemediationService, role: str
) -> None:
    session = bench.lost_gpu()

    with pytest.raises(ActionRefused) as refused:
        service.approve(session.plan, 1, "eve", "console", role=role)
    with pytest.raises(ActionRefused):
        service.undo(session.id, "eve", role=role)

    assert refused.value.guard == "role"


def test_what_is_not_there_or_over_is_refused(bench: Bench, service: RemediationService) -> None:
    session = bench.lost_gpu()
    service.undo(session.id, "ada")

    for unknown in ("p-none", session.plan):
        with pytest.raises(ActionRefused):
            service.approve(unknown, 1, "ada", "console")
    with pytest.raises(ActionRefused, match="is cancelled already"):
        service.undo(session.id, "ada")
    with pytest.raises(ActionRefused, match="no session"):
        service.undo("s-none", "ada")


def test_undo_gives_back_although_the_incident_goes_on(
    bench: Bench, service: RemediationService
) -> None:
    session = bench.lost_gpu()
    service.approve(session.plan, 1, "ada", "console")
    bench.work()

    service.undo(session.id, "bob", reason="needed for the demo")
    bench.work()

    over = bench.session(session.id)
    assert (over.state, over.reason) == (SessionState.CANCELLED, Why.UNDONE)
    assert bench.cluster.changes[-1] == "release node-0"
    bench.happen(replace(bench_incident(bench), version=9))
    bench.work()
    assert bench.cluster.changes[-1] == "release node-0"


def bench_incident(bench: Bench) -> Incident:
    with bench.store.reading() as tx:
        found = tx.incidents.get("i-example")
    assert found is not None
    return found


def test_people_stand_in_the_audit_by_name(bench: Bench, service: RemediationService) -> None:
    session = bench.lost_gpu()
    service.approve(session.plan, 1, "ada", "chat")
    service.halt("bob", "drill")
    service.resume("cyd")
    service.undo(session.id, "dan")

    with bench.store.reading() as tx:
        said = [(r.actor, r.verb) for r in tx.audit.all() if not r.actor.startswith("fleetmend/")]
    assert said == [
        ("ada", AuditVerb.APPROVED),
        ("bob", AuditVerb.HALTED),
        ("cyd", AuditVerb.UNHALTED),
        ("dan", AuditVerb.SESSION_CHANGED),
    ]


def test_the_halt_works_with_the_store_down(bench: Bench, service: RemediationService) -> None:
    def down() -> None:
        raise StoreError("gone")

    bench.store.transaction = down  # type: ignore[method-assign, assignment]

    assert service.halt("ada", "storm").halted
    assert service.halt_state().halted
    assert not service.resume("ada").halted
