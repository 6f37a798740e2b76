"""The life of a session as a machine: every walk through it keeps its promises."""

from dataclasses import replace

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fleetmend.model.entities import EntityId
from fleetmend.model.plans import (
    ENDED_SESSIONS,
    ActionKind,
    Effect,
    Session,
    SessionState,
    Step,
    StepRecord,
    StepState,
)
from remediation import session as life
from remediation.session import NEXT_STATES, NEXT_STEP_STATES, SETTLED, IllegalChange
from tests.unit.remediation.cases import node, plan

STEPS = (
    Step(0, ActionKind.CORDON, Effect.REVERSIBLE, node(0), compensation=ActionKind.UNCORDON),
    Step(1, ActionKind.DRAIN, Effect.DISRUPTIVE, node(0)),
    Step(2, ActionKind.NOTIFY, Effect.OBSERVE, node(0)),
)
PLAN = plan(*STEPS)


def fresh() -> Session:
    return Session(
        id="s-1",
        plan=PLAN.id,
        plan_version=PLAN.version,
        incident="i-1",
        entity=EntityId("lab/node/node-0"),
        state=SessionState.PROPOSED,
        fence=0,
        worker="",
        lease_until_s=0.0,
        steps=tuple(StepRecord(s.index, StepState.PENDING, 0.0) for s in STEPS),
        opened_at_s=0.0,
        updated_at_s=0.0,
    )


class SessionLife(RuleBasedStateMachine):
    """Tries any change at any time; those that the checks let through are made."""

    @initialize()
    def open(self) -> None:
        self.session = fresh()
        self.was_over = False
        self.returned = False

    @rule(new=st.sampled_from(SessionState))
    def change_state(self, new: SessionState) -> None:
        old = self.session.state
        if new in NEXT_STATES[old]:
            life.check_session(old, new)
            self.session = replace(self.session, state=new)
        else:
            with pytest.raises(IllegalChange, match=f"{old.value} cannot become {new.value}"):
                life.check_session(old, new)

    @precondition(lambda self: self.session.state not in ENDED_SESSIONS)
    @rule(index=st.integers(0, 2), new=st.sampled_from(StepState))
    def change_step(self, index: int, new: StepState) -> None:
        record = life.record_of(self.session.steps, index)
        if new not in NEXT_STEP_STATES[record.state]:
            with pytest.raises(IllegalChange):
                life.check_step(record.state, new)
            return
        life.check_step(record.state, new)
        changed = replace(record, state=new)
        steps = tuple(changed if r.index == index else r for r in self.session.steps)
        self.session = replace(self.session, steps=steps)

    @invariant()
    def what_is_over_stays_over(self) -> None:
        assert not (self.was_over and self.session.state not in ENDED_SESSIONS)
        self.was_over = life.is_over(self.session)

    @invariant()
    def what_gives_back_never_takes_again(self) -> None:
        back = (SessionState.GIVING_BACK, SessionState.COMPENSATING)
        if self.returned:
            assert self.session.state in {*back, *ENDED_SESSIONS}
        self.returned = self.returned or self.session.state in back

    @invariant()
    def an_act_is_never_done_without_an_intent_or_a_look(self) -> None:
        """PENDING and REFUSED lead to DONE only through INTENDED."""
        assert StepState.DONE not in NEXT_STEP_STATES[StepState.PENDING]
        assert StepState.DONE not in NEXT_STEP_STATES[StepState.REFUSED]

    @invariant()
    def the_next_step_is_the_first_unsettled_one(self) -> None:
        found = life.next_step(PLAN.steps, self.session.steps)
        unsettled = [r.index for r in self.session.steps if r.state not in SETTLED]
        assert (found[0].index if found else None) == (unsettled[0] if unsettled else None)

    @invariant()
    def a_touched_cordon_counts_as_taken_and_can_be_undone(self) -> None:
        touched = (
            StepState.INTENDED,
            StepState.INTERRUPTED,
            StepState.DONE,
            StepState.FOUND_DONE,
            StepState.FAILED,
        )
        cordon, drain = self.session.steps[0].state, self.session.steps[1].state
        assert life.has_taken(self.session, PLAN) is (cordon in touched or drain in touched)
        undo = life.to_compensate(PLAN.steps, self.session.steps)
        assert (undo is not None) is (cordon in touched)


SessionLife.TestCase.settings = settings(max_examples=100, stateful_step_count=25, deadline=None)
TestSessionLife = SessionLife.TestCase


def test_every_state_can_be_reached_and_has_a_way_to_an_end() -> None:
    reached, front = {SessionState.PROPOSED}, [SessionState.PROPOSED]
    while front:
        for state in NEXT_STATES[front.pop()] - reached:
            reached.add(state)
            front.append(state)
    assert reached == set(SessionState)
    ends = set(ENDED_SESSIONS)
    for _ in SessionState:
        ends |= {state for state, following in NEXT_STATES.items() if following & ends}
    assert ends == set(SessionState)


def test_the_step_that_is_verified_is_the_last_one_done() -> None:
    states = (StepState.DONE, StepState.FOUND_DONE, StepState.PENDING)
    records = tuple(StepRecord(i, s, 0.0) for i, s in enumerate(states))

    found = life.last_done(PLAN.steps, records)

    assert found is not None
    assert found[0].action is ActionKind.DRAIN


def test_a_step_that_is_not_there_is_a_defect() -> None:
    with pytest.raises(IllegalChange, match="no step 7"):
        life.record_of(fresh().steps, 7)
