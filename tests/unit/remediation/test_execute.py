"""The executor on the small fleet: what it does, when it stops, what it gives back."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from fleetmend.errors import PortError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import TopologyChange, TopologyOp
from fleetmend.model.events import Witness
from fleetmend.model.plans import Autonomy, SessionState
from fleetmend.ports.cluster import EvictionOutcome, NodeState, PodState
from fleetmend.ports.halt import HaltState
from fleetmend.settings.remediation import LimitSettings, PoolSettings
from fleetmend.store import Store
from remediation.reasons import Why
from remediation.sample import engine_id, gpu_id, node_id, sample_incident
from tests.unit.remediation.bench import Bench, auto

HALTED = HaltState(halted=True, by="ada", reason="drill")


def test_two_witnesses_cordon_drain_and_hold_until_the_fault_clears(bench: Bench) -> None:
    session = bench.lost_gpu()

    bench.work()
    assert bench.session(session.id).state is SessionState.HOLDING
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]

    bench.resolve()
    bench.work()
    assert bench.session(session.id).state is SessionState.DONE
    assert bench.session(session.id).reason == Why.RESOLVED
    assert bench.cluster.changes[2:] == ["release node-0"]
    assert bench.cluster.nodes["node-0"].taints == ()
    assert bench.audit_holds()


def test_every_act_stands_in_the_audit_before_and_after_it(bench: Bench) -> None:
    session = bench.lost_gpu()

    bench.work()
    bench.resolve()
    bench.work()

    told = [v for v in bench.verbs(session.id) if v is not AuditVerb.SESSION_CHANGED]
    step = [AuditVerb.INTENT, AuditVerb.OUTCOME, AuditVerb.VERIFIED]
    assert told == [*step, *step, *step, AuditVerb.INTENT, AuditVerb.GAVE_BACK]


def test_one_witness_cordons_at_once_and_the_drain_waits_for_the_second(bench: Bench) -> None:
    session = bench.lost_gpu(witnesses=(Witness.KERNEL_LOG,), provisional=True)

    bench.work()
    waiting = bench.session(session.id)
    assert waiting.state is SessionState.WAITING
    assert waiting.reason == "provisional, witnesses_missing"
    assert bench.cluster.changes == ["quarantine node-0"]

    confirmed = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu_id(0),
        witnesses=(Witness.KERNEL_LOG, Witness.TELEMETRY),
        symptom="xid.79",
    )
    bench.happen(replace(confirmed, version=2))
    bench.work()
    assert bench.session(session.id).state is SessionState.HOLDING
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]


def test_a_provisional_cordon_is_released_when_a_shared_cause_is_found(bench: Bench) -> None:
    session = bench.lost_gpu(witnesses=(Witness.KERNEL_LOG,), provisional=True)
    bench.work()

    bench.resolve(status="merged")
    bench.work()

    assert bench.session(session.id).reason == Why.MERGED
    assert bench.cluster.changes == ["quarantine node-0", "release node-0"]


def test_a_halt_lets_nothing_out_and_everything_back(bench: Bench) -> None:
    held = bench.lost_gpu()
    bench.work()
    bench.halt.now = HALTED
    fresh = bench.lost_gpu(entity=gpu_id(9), incident_id="i-second")
    bench.resolve()

    bench.work()

    assert bench.session(held.id).state is SessionState.DONE
    assert bench.session(fresh.id).reason == "halted"
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0", "release node-0"]


def test_a_halt_between_intent_and_act_stops_the_act(bench: Bench) -> None:
    """Admission still saw it on go; the gate before the write does not."""
    session = bench.lost_gpu()
    looks = iter([HaltState(False), HALTED])
    bench.halt.state = lambda: next(looks, HALTED)  # type: ignore[method-assign]

    bench.executor.run_once()

    assert bench.cluster.changes == []
    assert bench.states(session.id)[0] == "refused"
    assert bench.session(session.id).state is SessionState.WAITING
    assert AuditVerb.INTENT in bench.verbs(session.id)


def test_a_drain_respects_budgets_and_daemons_and_goes_on_when_it_may(bench: Bench) -> None:
    bench.cluster.add_pod("extra", "node-0")
    bench.cluster.blocked = {"extra"}
    session = bench.lost_gpu()

    bench.work(30)
    assert bench.session(session.id).state is SessionState.RUNNING
    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]

    bench.cluster.blocked = set()
    bench.work(30)
    assert bench.session(session.id).state is SessionState.HOLDING
    assert bench.cluster.changes[2:] == ["evict extra"]
    assert [pod.name for pod in bench.cluster.pods_on("node-0")] == ["agent-0"]


def test_a_drain_has_no_more_evictions_under_way_than_the_settings_say(bench: Bench) -> None:
    for number in range(10):
        bench.cluster.add_pod(f"extra-{number}", "node-0")
    bench.lost_gpu()
    bench.executor.run_once()

    assert len([c for c in bench.cluster.changes if c.startswith("evict")]) == 4
    bench.work()
    assert len([c for c in bench.cluster.changes if c.startswith("evict")]) == 11


def test_a_drain_moves_what_it_may_and_then_fails_by_the_clusters_own_words(bench: Bench) -> None:
    """Sorted by name the forbidden pod comes first."""
    bench.cluster.add_pod("a-system", "node-0")
    bench.cluster.forbidden.add("a-system")
    session = bench.lost_gpu()

    bench.work()

    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0"]
    assert bench.session(session.id).state is SessionState.HOLDING
    assert bench.session(session.id).reason == Why.HELD_AFTER_FAILURE
    assert "403" in bench.session(session.id).steps[2].detail


def test_a_node_that_a_person_takes_back_during_a_drain_keeps_its_pods(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the first eviction and the second."""
    bench.cluster.add_pod("z-late", "node-0")
    really = bench.cluster.evict

    def evict(pod: PodState, *, session: str) -> EvictionOutcome:
        outcome = really(pod, session=session)
        bench.cluster.person_uncordons("node-0")
        return outcome

    monkeypatch.setattr(bench.cluster, "evict", evict)
    session = bench.lost_gpu()
    bench.work()

    assert bench.cluster.changes == ["quarantine node-0", "evict engine-0", "release node-0"]
    assert bench.session(session.id).reason == Why.TAKEN_BACK_BY_PERSON


def test_a_drain_that_takes_too_long_holds_what_it_has_and_gives_it_back(bench: Bench) -> None:
    bench.cluster.blocked = {"engine-0"}
    session = bench.lost_gpu()

    bench.work(1000, step_s=50)
    held = bench.session(session.id)
    assert (held.state, held.reason) == (SessionState.HOLDING, Why.HELD_AFTER_FAILURE)
    assert bench.states(session.id) == ["done", "done", "failed"]

    bench.resolve()
    bench.work()
    assert bench.cluster.changes == ["quarantine node-0", "release node-0"]


@pytest.mark.parametrize("error", [KeyError("a defect"), PortError("no answer")])
def test_a_session_that_fails_keeps_no_other_from_giving_back(
    bench: Bench, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each time it is counted by name, and tried again once its lease has run out."""
    first = bench.lost_gpu()
    second = bench.lost_gpu(entity=gpu_id(1), incident_id="i-second")
    bench.work()
    bench.resolve()
    bench.resolve("i-second")
    really = bench.cluster.node

    def node(name: str) -> NodeState | None:
        if name == "node-0":
            raise error
        return really(name)

    monkeypatch.setattr(bench.cluster, "node", node)
    bench.work(bench.settings.lease_s * 3)
    assert bench.session(second.id).state is SessionState.DONE
    assert bench.session(first.id).state is SessionState.GIVING_BACK
    assert bench.executor.failures[type(error).__name__] >= 2
    assert set(bench.executor.failures) == {type(error).__name__}

    monkeypatch.setattr(bench.cluster, "node", really)
    bench.work(bench.settings.lease_s * 2)
    assert bench.session(first.id).state is SessionState.DONE


def test_a_person_who_uncordons_wins_for_this_incident(bench: Bench) -> None:
    session = bench.lost_gpu()
    bench.work()
    bench.cluster.person_uncordons("node-0")

    bench.work()
    over = bench.session(session.id)
    assert (over.state, over.reason) == (SessionState.CANCELLED, Why.TAKEN_BACK_BY_PERSON)
    assert not bench.cluster.nodes["node-0"].unschedulable
    assert bench.cluster.nodes["node-0"].taints == ()

    changed = sample_incident(
        cause="gsp_timeout",
        entity=gpu_id(0),
        witnesses=(Witness.KERNEL_LOG, Witness.TELEMETRY),
        symptom="xid.119",
    )
    bench.happen(replace(changed, version=2))
    bench.work()
    assert bench.cluster.changes.count("quarantine node-0") == 1


def test_a_node_that_was_cordoned_before_us_stays_so_after_us(bench: Bench) -> None:
    bench.cluster.nodes["node-0"] = replace(bench.cluster.nodes["node-0"], unschedulable=True)
    bench.lost_gpu()
    bench.work()

    bench.resolve()
    bench.work()

    assert bench.cluster.nodes["node-0"].unschedulable
    assert bench.cluster.nodes["node-0"].session == ""


def test_a_node_that_changes_under_our_hands_is_read_again(bench: Bench) -> None:
    session = bench.lost_gpu()
    really, tries = bench.cluster.node, iter(range(100))

    def node_then_touch(name: str) -> object:
        state = really(name)
        if next(tries) == 2:  # after the read that the write is based on
            bench.cluster.touch(name)
        return state

    bench.cluster.node = node_then_touch  # type: ignore[assignment, method-assign]
    bench.work()

    assert bench.session(session.id).state is SessionState.HOLDING
    assert bench.cluster.changes.count("quarantine node-0") == 1


def test_what_fails_for_good_is_undone_and_ends_as_failed(bench: Bench) -> None:
    incident = sample_incident(
        cause="engine_hang",
        entity=engine_id(0),
        witnesses=(Witness.TELEMETRY, Witness.PROBE),
        symptom="no_progress",
    )
    bench.engines.stuck = True
    session = bench.happen(incident)
    assert session is not None

    bench.work(700, step_s=50)

    held = bench.session(session.id)
    assert (held.state, held.reason) == (SessionState.HOLDING, Why.HELD_AFTER_FAILURE)
    assert bench.traffic.changes == ["weight engine-0 0"]


def test_an_ejected_engine_gets_the_weight_back_that_it_had(bench: Bench) -> None:
    incident = sample_incident(
        cause="engine_hang",
        entity=engine_id(0),
        witnesses=(Witness.TELEMETRY, Witness.PROBE),
        symptom="no_progress",
    )
    session = bench.happen(incident)
    assert session is not None

    bench.work()
    assert bench.engines.changes == ["restart engine-0"]
    bench.resolve()
    bench.work()

    assert bench.session(session.id).state is SessionState.DONE
    assert bench.traffic.changes == ["weight engine-0 0", "weight engine-0 80"]


def test_a_plan_that_changes_gives_back_before_anything_else_is_done(bench: Bench) -> None:
    first = bench.lost_gpu()
    bench.work()
    renamed = sample_incident(
        cause="noisy_neighbour",
        entity=gpu_id(0),
        witnesses=(Witness.TELEMETRY,),
        symptom="foreign_process",
    )

    bench.happen(replace(renamed, version=2))
    bench.work()

    over = bench.session(first.id)
    assert (over.state, over.reason) == (SessionState.CANCELLED, Why.SUPERSEDED)
    assert bench.cluster.changes[-1] == "release node-0"


def test_an_unknown_target_is_refused_by_name(bench: Bench) -> None:
    bench.picture.change(TopologyChange(1.0, TopologyOp.ENTITY_GONE, node_id(0)))

    session = bench.lost_gpu()
    bench.work()

    assert "unknown_target" in bench.session(session.id).reason
    assert bench.cluster.changes == []


def test_an_old_picture_takes_nothing_and_still_gives_back(bench: Bench) -> None:
    held = bench.lost_gpu()
    bench.work()
    fresh = bench.lost_gpu(entity=gpu_id(9), incident_id="i-second")
    bench.picture.behind = "reading"
    bench.resolve()

    bench.work()

    assert bench.session(fresh.id).reason == "catching_up"
    assert bench.session(held.id).state is SessionState.DONE


def test_a_plan_that_is_only_recommended_holds_nothing(fresh_stores: Iterator[Store]) -> None:
    """Two incidents of one node are both shown. Once the pool may act, one of them does and the
    other waits by name."""
    store = next(fresh_stores)
    shown = Bench(store, settings=auto(default=PoolSettings(autonomy=Autonomy.RECOMMEND)))
    first = shown.lost_gpu(incident_id="i-first")
    shown.work(3.0)
    second = shown.lost_gpu(incident_id="i-second")
    shown.work(3.0)
    for session in (first, second):
        assert "autonomy_recommend" in shown.session(session.id).reason
    with store.reading() as tx:
        assert tx.sessions.holding([node_id(0)]) is None

    acting = Bench(store, clock=shown.clock)
    acting.work()
    states = {s.id: acting.session(s.id) for s in (first, second)}
    assert acting.cluster.changes.count("quarantine node-0") == 1
    (holds,) = (s for s in states.values() if s.state is SessionState.HOLDING)
    (waits,) = (s for s in states.values() if s.id != holds.id)
    assert waits.reason == "owned_by_other"
    with store.reading() as tx:
        assert tx.sessions.holding([node_id(0)]) == acting.session(holds.id)

    acting.resolve(holds.incident)
    acting.work(20.0)
    assert acting.session(holds.id).state is SessionState.DONE
    assert acting.session(waits.id).state is SessionState.HOLDING
    store.close()


def test_a_node_that_another_is_about_to_take_is_not_taken(fresh_stores: Iterator[Store]) -> None:
    """Between its intent and its act the node itself does not say so: the store does."""
    store = next(fresh_stores)
    shown = Bench(store, settings=auto(default=PoolSettings(autonomy=Autonomy.RECOMMEND)))
    first = shown.lost_gpu(incident_id="i-first")
    shown.work(3.0)
    second = shown.lost_gpu(incident_id="i-second")
    shown.work(3.0)
    with store.transaction() as tx:
        held = tx.sessions.get(first.id)
        assert held is not None
        tx.sessions.renew(held, now_s=shown.clock.now_s(), lease_s=1e6)
        tx.sessions.hold(held, [node_id(0)])

    acting = Bench(store, clock=shown.clock)
    acting.work()

    assert acting.cluster.changes == []
    assert acting.session(second.id).reason == "owned_by_other"
    store.close()


def test_what_has_been_taken_stays_held_when_the_pool_may_act_no_more(bench: Bench) -> None:
    session = bench.lost_gpu(witnesses=(Witness.KERNEL_LOG,))
    bench.work()
    assert bench.cluster.changes == ["quarantine node-0"]
    quiet = Bench(
        bench.store,
        settings=auto(default=PoolSettings(autonomy=Autonomy.RECOMMEND)),
        clock=bench.clock,
    )
    quiet.cluster = bench.cluster
    quiet.ports = replace(quiet.ports, cluster=bench.cluster)
    quiet.executor = quiet.new_worker()
    quiet.work()

    assert "autonomy_recommend" in bench.session(session.id).reason
    with bench.store.reading() as tx:
        assert tx.sessions.holding([node_id(0)]) is not None


def test_two_incidents_on_one_node_take_turns(bench: Bench) -> None:
    first = bench.lost_gpu()
    bench.work()
    second = sample_incident(
        cause="gsp_timeout",
        entity=gpu_id(0),
        witnesses=(Witness.KERNEL_LOG, Witness.TELEMETRY),
        symptom="xid.119",
    )

    assert bench.happen(replace(second, id="i-second")) is None
    bench.resolve()
    bench.work()
    with bench.store.transaction() as tx:
        incident = tx.incidents.get("i-second")
        assert incident is not None
        assert not bench.proposals.propose(tx, incident, now_s=bench.clock.now_s())

    assert bench.session(first.id).state is SessionState.DONE
    assert bench.active() == [SessionState.PROPOSED]


@pytest.mark.parametrize("reason", ["rate", "level"])
def test_admission_counts_what_other_sessions_took(bench: Bench, reason: str) -> None:
    rate, level = (2, 9) if reason == "rate" else (9, 2)
    tight = LimitSettings(taken_max=rate, out_max=level, out_fraction=1.0)
    bench.settings = auto(rack_limits=tight, fleet_limits=tight)
    bench.executor = bench.new_worker()
    sessions = [
        bench.lost_gpu(entity=gpu_id(n), incident_id=f"i-{n}", witnesses=(Witness.KERNEL_LOG,))
        for n in (0, 3, 9)
    ]

    bench.work()

    assert len([c for c in bench.cluster.changes if "quarantine" in c]) == 2
    reasons = [bench.session(session.id).reason for session in sessions]
    assert reasons.count(f"{reason}_exceeded") == 1
