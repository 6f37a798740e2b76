"""Whom an open incident waits for, and planning again for one that automation has given up."""

from dataclasses import replace

import pytest

from fleetmend.errors import ActionRefused
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.plans import Autonomy, Refusal, SessionState
from fleetmend.ports.halt import HaltState
from fleetmend.settings.remediation import PoolSettings
from remediation.attention import HELD_S, Need
from remediation.proposals import VERSIONS_MAX
from remediation.reasons import Why
from remediation.sample import gpu_id, sample_incident
from remediation.service import RemediationService
from tests.unit.remediation.bench import BOTH, RUNBOOKS, Bench, auto

LONG_S = HELD_S + 5.0


@pytest.fixture
def service(bench: Bench) -> RemediationService:
    return RemediationService(
        bench.store, bench.clock, halt=bench.halt, runbooks=RUNBOOKS, approval_ttl_s=900.0
    )


def of_pool(bench: Bench, autonomy: Autonomy) -> None:
    pool = PoolSettings(autonomy=autonomy, limits=bench.settings.default.limits)
    bench.settings = auto(default=pool)
    bench.executor = bench.new_worker()


def needs(service: RemediationService) -> list[Need]:
    return [found.need for found in service.needs_person()]


def sweep(bench: Bench, incident_id: str = "i-example") -> None:
    """What the intake does for incidents whose last session is over."""
    with bench.store.transaction() as tx:
        incident = tx.incidents.get(incident_id)
        assert incident is not None
        bench.proposals.propose(tx, incident, now_s=bench.clock.now_s())


def test_an_incident_that_is_being_treated_needs_nobody_until_all_is_done(
    bench: Bench, service: RemediationService
) -> None:
    bench.lost_gpu()
    assert needs(service) == []

    bench.work()
    assert needs(service) == [Need.REPAIR]

    bench.resolve()
    assert needs(service) == []


def test_a_mitigated_incident_needs_nobody(bench: Bench, service: RemediationService) -> None:
    bench.lost_gpu()
    bench.work()
    bench.resolve(status="mitigated")

    assert needs(service) == []


def test_an_incident_that_no_runbook_answers_needs_a_person(
    bench: Bench, service: RemediationService
) -> None:
    bench.proposals = type(bench.proposals)(
        bench.picture.topology, (), notify=lambda _tx, _old, _new: None
    )
    bench.happen(
        sample_incident(cause="odd", entity=gpu_id(0), witnesses=BOTH, symptom="gpu.sm_clock")
    )

    found = service.needs_person()

    assert [(n.need, n.plan, n.may_renew) for n in found] == [(Need.NO_RUNBOOK, None, False)]
    with pytest.raises(ActionRefused, match="no runbook"):
        service.renew("i-example", "ada", "console")


@pytest.mark.parametrize(
    ("autonomy", "need"), [(Autonomy.APPROVE, Need.APPROVAL), (Autonomy.RECOMMEND, Need.ADVICE)]
)
def test_a_plan_that_waits_for_a_word_needs_a_person_at_once(
    bench: Bench, service: RemediationService, autonomy: Autonomy, need: Need
) -> None:
    of_pool(bench, autonomy)
    bench.lost_gpu()
    bench.work(2)

    assert needs(service) == [need]


def test_a_guard_that_holds_for_long_is_named(bench: Bench, service: RemediationService) -> None:
    bench.halt.now = HaltState(True, "ada", "drill")
    bench.lost_gpu()
    bench.work(2)
    assert needs(service) == []

    bench.work(LONG_S)

    found = service.need_of("i-example")
    assert found is not None
    assert (found.need, [r.refusal for r in found.reasons]) == (Need.HELD, [Refusal.HALTED])
    assert not found.may_renew
    with pytest.raises(ActionRefused, match="waiting"):
        service.renew("i-example", "ada", "console")


def test_a_session_that_no_executor_takes_up_needs_a_person(
    bench: Bench, service: RemediationService
) -> None:
    bench.lost_gpu()
    bench.clock.sleep(LONG_S)

    assert needs(service) == [Need.NOT_TAKEN_UP]


def test_a_plan_whose_node_another_session_holds_is_queued(
    bench: Bench, service: RemediationService
) -> None:
    bench.lost_gpu()
    second = sample_incident(
        cause="gpu_fallen_off_bus", entity=gpu_id(0), witnesses=BOTH, symptom="xid.79"
    )
    bench.happen(replace(second, id="i-second"))

    found = service.need_of("i-second")

    assert found is not None
    assert (found.need, found.session) == (Need.QUEUED, None)
    with pytest.raises(ActionRefused, match="holds what it is about"):
        service.renew("i-second", "ada", "console")


def test_the_worst_comes_first(bench: Bench, service: RemediationService) -> None:
    bench.halt.now = HaltState(True, "ada", "drill")
    bench.lost_gpu()
    worse = sample_incident(
        cause="gpu_fallen_off_bus", entity=gpu_id(9), witnesses=BOTH, symptom="xid.79"
    )
    bench.happen(replace(worse, id="i-worse", severity=type(worse.severity).P0))
    bench.work(LONG_S)

    assert [n.incident.id for n in service.needs_person()] == ["i-worse", "i-example"]


def test_a_denied_plan_can_be_planned_again_and_then_acts(
    bench: Bench, service: RemediationService
) -> None:
    first = bench.lost_gpu()
    service.deny(first.plan, 1, "ada", "not now", "console")
    bench.work(3)
    found = service.need_of("i-example")
    assert found is not None
    assert (found.need, found.may_renew) == (Need.DENIED, True)
    sweep(bench)
    assert bench.cluster.changes == []

    renewed = service.renew("i-example", "bob", "console", reason="the drill is over")
    bench.work()

    assert (renewed.version, renewed.renewed_by) == (2, "bob")
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]
    with bench.store.reading() as tx:
        said = [r for r in tx.audit.all() if r.verb is AuditVerb.PLAN_RENEWED]
    assert [(r.actor, r.subject, r.detail["reason"]) for r in said] == [
        ("bob", renewed.id, "the drill is over")
    ]
    assert bench.audit_holds()


def test_a_plan_asked_for_anew_wants_an_approval_of_its_own(
    bench: Bench, service: RemediationService
) -> None:
    of_pool(bench, Autonomy.APPROVE)
    first = bench.lost_gpu()
    service.deny(first.plan, 1, "ada", "not now", "console")
    bench.work(3)
    service.renew("i-example", "bob", "console")
    bench.work(3)
    assert needs(service) == [Need.APPROVAL]
    assert bench.cluster.changes == []

    service.approve(first.plan, 2, "bob", "console")
    bench.work()

    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]


def test_what_was_undone_is_taken_again_only_when_a_person_asks(
    bench: Bench, service: RemediationService
) -> None:
    session = bench.lost_gpu()
    bench.work()
    service.undo(session.id, "ada")
    bench.work()
    assert needs(service) == [Need.UNDONE]
    sweep(bench)

    service.renew("i-example", "ada", "console")
    bench.work()

    assert bench.cluster.changes.count("quarantine node-0") == 2
    assert needs(service) == [Need.REPAIR]


def test_what_a_failed_plan_holds_is_given_back_before_the_next_one_begins(
    bench: Bench, service: RemediationService
) -> None:
    bench.cluster.forbidden.add("engine-0")
    session = bench.lost_gpu()
    bench.work()
    assert bench.session(session.id).reason == Why.HELD_AFTER_FAILURE
    assert needs(service) == [Need.HELD_AFTER_FAILURE]
    bench.cluster.forbidden.clear()

    service.renew("i-example", "ada", "console")
    with pytest.raises(ActionRefused, match="ada has asked already"):
        service.renew("i-example", "bob", "console")
    bench.work()
    sweep(bench)
    bench.work()

    once = ["quarantine node-0", "release node-0", "quarantine node-0", "evict engine-0"]
    assert bench.cluster.changes == once
    assert bench.session(session.id).state is SessionState.CANCELLED


def test_a_later_no_counts_again(bench: Bench, service: RemediationService) -> None:
    first = bench.lost_gpu()
    service.deny(first.plan, 1, "ada", "not now", "console")
    bench.work(3)
    service.renew("i-example", "bob", "console")
    service.deny(first.plan, 2, "ada", "still not", "console")
    bench.work(3)
    sweep(bench)
    bench.work()

    assert bench.cluster.changes == []
    assert needs(service) == [Need.DENIED]


def test_a_plan_that_keeps_changing_is_for_people_who_may_begin_anew(
    bench: Bench, service: RemediationService
) -> None:
    session = bench.lost_gpu()
    with bench.store.transaction() as tx:
        plan = tx.plans.get(session.plan)
        assert plan is not None
        for version in range(2, VERSIONS_MAX + 1):
            plan = replace(plan, version=version)
            tx.plans.put(plan)
    service.undo(session.id, "ada")
    other = sample_incident(
        cause="gsp_timeout", entity=gpu_id(0), witnesses=BOTH, symptom="xid.119"
    )
    bench.happen(replace(other, version=2))
    with bench.store.reading() as tx:
        assert len(tx.plans.for_incident("i-example")) == VERSIONS_MAX

    service.renew("i-example", "ada", "console")
    bench.happen(replace(other, version=3))

    with bench.store.reading() as tx:
        assert len(tx.plans.for_incident("i-example")) == VERSIONS_MAX + 2


@pytest.mark.parametrize("incident", ["i-none", "i-example"])
def test_what_is_not_there_or_over_is_not_planned_again(
    bench: Bench, service: RemediationService, incident: str
) -> None:
    bench.lost_gpu()
    bench.work()
    bench.resolve()

    with pytest.raises(ActionRefused):
        service.renew(incident, "ada", "console")
    assert service.need_of(incident) is None


def test_only_an_approver_plans_again(bench: Bench, service: RemediationService) -> None:
    first = bench.lost_gpu()
    service.deny(first.plan, 1, "ada", "not now", "console")
    bench.work(3)

    with pytest.raises(ActionRefused) as refused:
        service.renew("i-example", "eve", "console", role="responder")
    assert refused.value.guard == "role"


def test_a_resolved_incident_says_when_its_node_comes_back(
    bench: Bench, service: RemediationService
) -> None:
    session = bench.lost_gpu()
    bench.work()
    assert service.coming_back() == []
    resolved_at_s = bench.clock.now_s()
    with bench.store.reading() as tx:
        incident = tx.incidents.get("i-example")
    assert incident is not None
    resolved = type(incident.status).RESOLVED
    bench.happen(replace(incident, version=2, status=resolved, resolved_at_s=resolved_at_s))

    [back] = service.coming_back()
    assert (back.session, back.begun) == (session.id, False)
    assert back.targets == (EntityId("example/node/node-0"),)
    wait_s = back.at_s - resolved_at_s
    assert wait_s > 0
    bench.work(wait_s - 2.0)
    assert "release node-0" not in bench.cluster.changes
    bench.work(2.0 + bench.settings.hold_check_s + 2.0)
    assert bench.cluster.changes[-1] == "release node-0"
    assert service.coming_back() == []
