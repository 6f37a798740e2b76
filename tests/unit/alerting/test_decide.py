"""Who hears of which record, and why."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from alerting.decide import ReceiverState, decide, is_over, is_sent, notice_of
from fleetmend.model.incidents import Incident, IncidentStatus, Severity
from fleetmend.model.notifications import NotifyReason
from fleetmend.store import Notice
from tests.unit.alerting.samples import incident

ALL = frozenset(Severity)


def told(an_incident: Incident) -> Notice:
    """What a receiver knows that has heard of this record's opening."""
    state = ReceiverState(ALL, None)
    return notice_of(an_incident, NotifyReason.OPENED, state, at_s=0.0)


@pytest.mark.parametrize(
    ("record", "knows", "why"),
    [
        (incident(), None, NotifyReason.OPENED),
        (incident(provisional=True), None, NotifyReason.PROVISIONAL),
        (incident(status=IncidentStatus.RESOLVED), None, NotifyReason.UNCHANGED),
        (incident(version=2), told(incident()), NotifyReason.UNCHANGED),
        (
            incident(version=2, status=IncidentStatus.MITIGATED),
            told(incident()),
            NotifyReason.UNCHANGED,
        ),
        (incident(version=2, severity=Severity.P0), told(incident()), NotifyReason.SEVERITY_RAISED),
        (incident(version=2, severity=Severity.P3), told(incident()), NotifyReason.UNCHANGED),
        (incident(version=2, cause="nvlink"), told(incident()), NotifyReason.CAUSE_CHANGED),
        (incident(version=2, cause=""), told(incident()), NotifyReason.UNCHANGED),
        (incident(version=2), told(incident(cause="")), NotifyReason.CAUSE_CHANGED),
        (
            incident(version=2, status=IncidentStatus.RESOLVED),
            told(incident()),
            NotifyReason.RESOLVED,
        ),
        (
            incident(version=2, status=IncidentStatus.MERGED),
            told(incident()),
            NotifyReason.RESOLVED,
        ),
    ],
)
def test_each_record_has_its_reason(
    record: Incident, knows: Notice | None, why: NotifyReason
) -> None:
    assert decide(None, record, ReceiverState(ALL, knows)) is why


def test_a_record_older_than_the_one_held_is_no_news() -> None:
    reason = decide(incident(version=3), incident(version=2), ReceiverState(ALL, None))

    assert reason is NotifyReason.UNCHANGED


def test_a_receiver_that_does_not_take_a_severity_is_told_when_it_rises_to_its_own() -> None:
    pager = ReceiverState(frozenset({Severity.P0, Severity.P1}), None)
    low, high = incident(severity=Severity.P3), incident(version=2, severity=Severity.P0)

    assert decide(None, low, pager) is NotifyReason.NOT_ROUTED
    assert decide(low, high, pager) is NotifyReason.OPENED


def test_a_decision_is_asked_for_once_for_each_version_of_a_plan() -> None:
    knows = told(incident())
    asking = ReceiverState(ALL, knows, approval="p-1/1")
    assert decide(None, incident(), asking) is NotifyReason.APPROVAL_NEEDED

    asked = notice_of(incident(), NotifyReason.APPROVAL_NEEDED, asking, at_s=0.0)
    again = ReceiverState(ALL, asked, approval="p-1/1")
    assert decide(None, incident(), again) is NotifyReason.UNCHANGED
    changed = ReceiverState(ALL, asked, approval="p-1/2")
    assert decide(None, incident(), changed) is NotifyReason.APPROVAL_NEEDED


def test_an_incident_that_opens_again_after_its_end_is_told_again() -> None:
    over = incident(version=2, status=IncidentStatus.RESOLVED)
    state = ReceiverState(ALL, told(incident()))
    ended = notice_of(over, NotifyReason.RESOLVED, state, at_s=0.0)

    reopened = incident(version=3, severity=Severity.P2)
    assert decide(over, reopened, ReceiverState(ALL, ended)) is NotifyReason.OPENED


def test_a_severity_that_was_told_before_is_no_news_after_a_dip() -> None:
    """Told P1, then of another cause at P3: back at P1 is what the receiver has heard already."""
    dip = incident(version=2, severity=Severity.P3, cause="nvlink")
    state = ReceiverState(ALL, told(incident()))
    knows = notice_of(dip, NotifyReason.CAUSE_CHANGED, state, at_s=0.0)

    back = incident(version=3, cause="nvlink")
    assert decide(dip, back, ReceiverState(ALL, knows)) is NotifyReason.UNCHANGED


records = st.builds(
    incident,
    severity=st.sampled_from(Severity),
    status=st.sampled_from(IncidentStatus),
    cause=st.sampled_from(["", "gpu_lost", "nvlink"]),
    provisional=st.booleans(),
)
severities = st.frozensets(st.sampled_from(Severity), min_size=1)
approvals = st.sampled_from(["", "p-1/1", "p-1/2"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(records, approvals), max_size=12), severities)
def test_a_receiver_hears_the_opening_first_the_end_last_and_nothing_twice(
    history: list[tuple[Incident, str]], takes: frozenset[Severity]
) -> None:
    """Whatever the records: openings and ends alternate, and every message says something new."""
    knows: Notice | None = None
    is_open = False
    previous: Incident | None = None
    for number, (drawn, approval) in enumerate(history):
        record = replace(drawn, version=number + 1)
        state = ReceiverState(takes, knows, approval)
        reason = decide(previous, record, state)
        assert decide(previous, record, state) is reason
        if is_sent(reason):
            assert (reason is NotifyReason.OPENED) == (not is_open)
            assert (reason is NotifyReason.RESOLVED) == is_over(record)
            assert not (record.provisional and reason is not NotifyReason.RESOLVED)
            is_open = not is_over(record)
            knows = notice_of(record, reason, state, at_s=float(number))
            repeated = decide(record, record, ReceiverState(takes, knows, approval))
            assert not is_sent(repeated) or repeated is not reason
        previous = record
    if previous is not None and is_over(previous):
        assert not is_open
