"""A drain that is stopped in the middle: what is on record, what stops it, and what does not."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from fleetmend.errors import PortError
from fleetmend.model.audit import AuditRecord, AuditVerb
from fleetmend.model.entities import EntityId, TopologyChange, TopologyOp
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom
from fleetmend.model.plans import Session, SessionState, StepState
from fleetmend.ports.cluster import PodState
from fleetmend.ports.halt import HaltState
from fleetmend.settings.remediation import PoolSettings, RemediationSettings, WindowSettings
from remediation.effects import DATED_BACK_S
from remediation.reasons import Why
from remediation.sample import NODES_PER_RACK, engine_id, gpu_id, node_id
from remediation.service import RemediationService
from tests.unit.remediation.bench import RUNBOOKS, Bench, auto

HALTED = HaltState(halted=True, by="ada", reason="drill")
DRAIN = 2
"""Place of the drain in the plan for a lost GPU."""


def finding(entity: EntityId, symptom: str, onset_s: float) -> Finding:
    return Finding(
        id=f"f-{entity}-{symptom}",
        detector="rules",
        entity=entity,
        state=FindingState.OPEN,
        witness=Witness.TELEMETRY,
        tick=0,
        at_s=onset_s,
        onset_s=onset_s,
        confidence=0.9,
        symptoms=(Symptom(symptom, Direction.PRESENT, 1.0, onset_s),),
        reason="example",
    )


def outcomes(bench: Bench, session: Session) -> list[AuditRecord]:
    """Outcomes of the drain."""
    with bench.store.reading() as tx:
        return [
            record
            for record in tx.audit.about(session.id)
            if record.verb is AuditVerb.OUTCOME and record.detail["step"] == DRAIN
        ]


@pytest.fixture
def session(bench: Bench) -> Iterator[Session]:
    """A drain of three pods: one has left, two are held back by a budget."""
    for name in ("extra-0", "extra-1"):
        bench.cluster.add_pod(name, "node-0")
        bench.cluster.blocked.add(name)
    made = bench.lost_gpu()
    bench.work(3)
    assert bench.session(made.id).steps[DRAIN].state is StepState.INTENDED
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]
    yield made
    assert bench.audit_holds()


def goes_on(bench: Bench, session: Session) -> bool:
    """Whether the rest is evicted once the budget lets it."""
    bench.work(3)
    bench.cluster.blocked.clear()
    bench.work(4)
    return bench.session(session.id).steps[DRAIN].state is StepState.DONE


def test_what_was_done_and_what_stopped_it_stands_in_the_audit(
    bench: Bench, session: Session
) -> None:
    bench.halt.now = HALTED
    bench.work(5)

    record = bench.session(session.id).steps[DRAIN]
    assert (record.state, record.parts, record.parts_left) == (StepState.INTERRUPTED, 3, 2)
    [outcome] = outcomes(bench, session)
    told = {key: outcome.detail[key] for key in ("outcome", "done", "left", "reasons", "halted")}
    assert told == {
        "outcome": "interrupted",
        "done": 1,
        "left": 2,
        "reasons": "halted",
        "halted": "halted by ada: drill",
    }
    waiting = bench.session(session.id)
    assert (waiting.state, waiting.reason) == (SessionState.WAITING, "halted")


def test_the_page_can_tell_an_interrupted_step_from_one_that_never_began(
    bench: Bench, session: Session
) -> None:
    bench.halt.now = HALTED
    bench.work(5)
    service = RemediationService(
        bench.store, bench.clock, halt=bench.halt, runbooks=RUNBOOKS, approval_ttl_s=900.0
    )

    need = service.need_of("i-example")

    assert need is not None
    assert (need.need, [r.refusal.value for r in need.reasons]) == ("interrupted", ["halted"])


def test_it_goes_on_where_it_was_when_nothing_holds_it_any_more(
    bench: Bench, session: Session
) -> None:
    bench.halt.now = HALTED
    bench.work(5)
    bench.halt.now = HaltState(halted=False)

    assert goes_on(bench, session)

    record = bench.session(session.id).steps[DRAIN]
    assert (record.parts, record.parts_left, record.attempt) == (3, 0, 2)
    assert sorted(bench.cluster.changes[1:]) == ["evict engine-0", "evict extra-0", "evict extra-1"]
    assert [o.detail["outcome"] for o in outcomes(bench, session)] == ["interrupted", "done"]


def test_a_halt_between_two_evictions_leaves_the_step_interrupted(
    bench: Bench, session: Session
) -> None:
    """Admission still saw the switch on go; the gate before the write does not."""
    bench.cluster.blocked.clear()
    looks = iter([HaltState(False), HALTED])
    bench.halt.state = lambda: next(looks, HALTED)  # type: ignore[method-assign]
    bench.executor.run_once()
    bench.clock.sleep(2.0)
    bench.executor.run_once()

    assert bench.session(session.id).steps[DRAIN].state is StepState.INTERRUPTED
    [outcome] = outcomes(bench, session)
    assert (outcome.detail["outcome"], outcome.detail["done"]) == ("interrupted", 1)


def test_what_was_taken_is_counted_as_out_and_given_back(bench: Bench, session: Session) -> None:
    bench.halt.now = HALTED
    bench.work(5)
    with bench.store.reading() as tx:
        held = tx.sessions.get(session.id)
        plan = tx.plans.get(session.plan)
    assert held is not None
    assert plan is not None
    assert held.steps[DRAIN].state is StepState.INTERRUPTED

    bench.resolve()
    bench.work()

    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0", "release node-0"]
    assert bench.session(session.id).state is SessionState.DONE


@pytest.mark.parametrize("silent", [False, True])
def test_an_incident_that_ends_in_the_middle_leaves_no_intent_without_an_outcome(
    bench: Bench, session: Session, silent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where the drained node cannot be read at that moment."""
    really, pods_on = bench.cluster.node, bench.cluster.pods_on
    asked = iter([True] if silent else [])

    def pods(node: str) -> tuple[PodState, ...]:
        if next(asked, False):
            raise PortError("no answer")
        return pods_on(node)

    monkeypatch.setattr(bench.cluster, "pods_on", pods)
    bench.resolve()
    bench.work()

    assert really("node-0") == bench.cluster.node("node-0")
    [outcome] = outcomes(bench, session)
    assert (outcome.detail["outcome"], outcome.detail["reasons"]) == ("interrupted", "resolved")
    assert outcome.detail.get("done") == (None if silent else 1)
    assert bench.cluster.changes[-1] == "release node-0"


def test_an_undo_in_the_middle_is_the_outcome_and_gives_back(
    bench: Bench, session: Session
) -> None:
    service = RemediationService(
        bench.store, bench.clock, halt=bench.halt, runbooks=RUNBOOKS, approval_ttl_s=900.0
    )
    service.undo(session.id, "ada")
    bench.work()

    [outcome] = outcomes(bench, session)
    assert (outcome.detail["reasons"], outcome.detail["left"]) == (Why.UNDONE.value, 2)
    assert bench.cluster.changes[-1] == "release node-0"


def test_a_no_in_the_middle_stops_it_and_what_was_begun_stays_known(
    bench: Bench, session: Session
) -> None:
    service = RemediationService(
        bench.store, bench.clock, halt=bench.halt, runbooks=RUNBOOKS, approval_ttl_s=900.0
    )
    service.deny(session.plan, 1, "ada", "enough", "console")
    bench.cluster.blocked.clear()
    bench.work()

    held = bench.session(session.id)
    assert (held.state, held.reason) == (SessionState.HOLDING, Why.DENIED)
    assert held.steps[DRAIN].state is StepState.INTERRUPTED
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]


def test_silence_on_the_node_that_is_drained_does_not_stop_it(
    bench: Bench, session: Session
) -> None:
    now_s = bench.clock.now_s()
    for entity in (engine_id(0), gpu_id(0)):
        bench.picture.find(finding(entity, "telemetry_stale", now_s))

    assert goes_on(bench, session)


def test_load_on_those_who_serve_on_does_not_stop_it(bench: Bench, session: Session) -> None:
    """A symptom of the incident itself, all over the rack, since the work was moved there."""
    evidence_of_load(bench)
    for number in range(NODES_PER_RACK):
        bench.picture.find(finding(engine_id(number), "engine.queue_time", bench.clock.now_s()))

    assert goes_on(bench, session)


def test_a_shared_parent_that_fails_meanwhile_stops_the_rest(
    bench: Bench, session: Session
) -> None:
    for number in range(1, NODES_PER_RACK):
        bench.picture.find(finding(gpu_id(number), "xid.79", bench.clock.now_s()))

    assert not goes_on(bench, session)
    assert bench.session(session.id).reason == "shared_parent"
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]


def test_what_showed_before_it_began_is_no_effect_of_it(bench: Bench, session: Session) -> None:
    evidence_of_load(bench)
    before_s = bench.session(session.id).steps[DRAIN].begun_at_s - DATED_BACK_S - 1.0
    for number in range(NODES_PER_RACK):
        bench.picture.find(finding(engine_id(number), "engine.queue_time", before_s))

    assert not goes_on(bench, session)
    assert bench.session(session.id).reason == "shared_parent"


def test_silence_all_over_the_rack_stops_a_beginning_but_not_what_was_begun(
    bench: Bench, session: Session
) -> None:
    for number in range(1, NODES_PER_RACK):
        bench.picture.find(finding(engine_id(number), "telemetry_absent", bench.clock.now_s()))
    second = bench.lost_gpu(entity=gpu_id(3), incident_id="i-second")

    assert goes_on(bench, session)
    assert "domain_silent" in bench.session(second.id).reason


def test_a_freeze_and_tighter_bounds_that_come_meanwhile_do_not_stop_it(
    bench: Bench, session: Session
) -> None:
    bench.settings = auto(freezes=(window(bench),))
    bench.executor = bench.new_worker()

    assert goes_on(bench, session)


def test_a_freeze_holds_what_was_interrupted(bench: Bench, session: Session) -> None:
    """It begins anew, so everything is asked anew."""
    bench.halt.now = HALTED
    bench.work(5)
    bench.settings = auto(freezes=(window(bench),))
    bench.executor = bench.new_worker()
    bench.halt.now = HaltState(halted=False)

    assert not goes_on(bench, session)
    assert bench.session(session.id).reason == "change_freeze"
    assert bench.session(session.id).steps[DRAIN].state is StepState.INTERRUPTED


def person_works_on_it(bench: Bench) -> None:
    node = node_id(0)
    known = bench.picture.topology.attributes[node]
    bench.picture.change(
        TopologyChange(
            bench.clock.now_s(),
            TopologyOp.ENTITY,
            node,
            attributes=known | {"maintenance": "fan swap"},
        )
    )


def falls_behind(bench: Bench) -> None:
    bench.picture.behind = "records were lost"


def is_only_watched(bench: Bench) -> None:
    bench.settings = RemediationSettings(
        default=PoolSettings(limits=bench.settings.default.limits),
        rack_limits=bench.settings.rack_limits,
        fleet_limits=bench.settings.fleet_limits,
    )
    bench.executor = bench.new_worker()


def loses_the_rest(bench: Bench) -> None:
    """Every other engine serves nothing any more."""
    bench.picture.change(TopologyChange(1.0, TopologyOp.ENTITY, engine_id(0)))
    for number in range(1, 16):
        bench.picture.find(finding(engine_id(number), "probe_failed", bench.clock.now_s()))


@pytest.mark.parametrize(
    ("happens", "refusal"),
    [
        (person_works_on_it, "maintenance"),
        (falls_behind, "catching_up"),
        (is_only_watched, "autonomy_recommend"),
        (loses_the_rest, "capacity_short"),
    ],
)
def test_what_still_stops_it(bench: Bench, session: Session, happens: object, refusal: str) -> None:
    assert callable(happens)
    happens(bench)

    assert not goes_on(bench, session)
    assert refusal in bench.session(session.id).reason.split(", ")
    assert bench.session(session.id).steps[DRAIN].state is StepState.INTERRUPTED


def test_a_drain_of_which_nothing_is_done_is_asked_everything_again(bench: Bench) -> None:
    bench.cluster.blocked = {"engine-0"}
    session = bench.lost_gpu()
    bench.work(3)
    assert bench.session(session.id).steps[DRAIN].state is StepState.INTENDED
    bench.settings = auto(freezes=(window(bench),))
    bench.executor = bench.new_worker()

    assert not goes_on(bench, session)
    assert bench.cluster.changes == ["quarantine node-0"]


def test_another_person_who_takes_the_node_ends_it(bench: Bench, session: Session) -> None:
    bench.cluster.person_uncordons("node-0")
    bench.cluster.blocked.clear()
    bench.work()

    assert bench.session(session.id).reason == Why.TAKEN_BACK_BY_PERSON
    assert [o.detail["outcome"] for o in outcomes(bench, session)] == ["interrupted"]


def window(bench: Bench) -> WindowSettings:
    now_s = bench.clock.now_s()
    return WindowSettings(
        start=datetime.fromtimestamp(now_s - 1, UTC),
        end=datetime.fromtimestamp(now_s + 3600, UTC),
        reason="release night",
    )


def evidence_of_load(bench: Bench) -> None:
    """The diagnosis counts slow requests among what supports its cause."""
    with bench.store.reading() as tx:
        incident = tx.incidents.get("i-example")
    assert incident is not None
    first = incident.evidence[0]
    slow = replace(first, id="E9", finding="f-slow", symptom="engine.queue_time")
    cause = replace(incident.causes[0], supports=(*incident.causes[0].supports, "E9"))
    bench.happen(
        replace(
            incident,
            version=incident.version + 1,
            evidence=(*incident.evidence, slow),
            causes=(cause,),
        )
    )
