"""The receiver that keeps what it gets."""

from dataclasses import replace

from fleetmend.model.notifications import DeliveryState
from simulator.controls import CollectingNotifier
from tests.unit.alerting.samples import notification


def test_a_notification_is_kept_once_however_often_it_comes() -> None:
    receiver = CollectingNotifier()
    first = replace(notification(), id="n-1")
    answers = [receiver.deliver(first), receiver.deliver(first)]
    other = replace(first, id="n-2")
    receiver.deliver(other)

    assert [answer.state for answer in answers] == [DeliveryState.ACCEPTED] * 2
    assert answers[1].detail == "known already"
    assert receiver.kept == (first, other)
