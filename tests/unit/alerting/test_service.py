"""From an incident's record to a message that a receiver accepted, or a dead letter."""

import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from alerting.service import AlertingService
from fleetmend.clock import ManualClock
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import Incident, IncidentStatus, Severity
from fleetmend.model.notifications import Delivery, DeliveryState, Notification, NotifyReason
from fleetmend.model.plans import Reason, Refusal, SessionState, Verdict
from fleetmend.settings.alerting import AlertingSettings, ReceiverSettings
from fleetmend.store import OutboxState, Store
from tests.contract.store.samples import plan
from tests.unit.alerting.samples import AT_S, incident

ACCEPTED = Delivery(DeliveryState.ACCEPTED, "HTTP 200")
DOWN = Delivery(DeliveryState.RETRY, "HTTP 503")
SETTINGS = AlertingSettings(
    console_url="http://127.0.0.1:8460",
    receivers=(
        ReceiverSettings(name="pager", kind="log", severities=(Severity.P0, Severity.P1)),
        ReceiverSettings(name="chat", kind="log", severities=tuple(Severity)),
    ),
    retry_s=(5.0, 30.0),
    jitter=0.0,
)


class ScriptedNotifier:
    """Answers as told, then accepts; remembers what it was given."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.given: list[Notification] = []
        self.answers: list[Delivery] = []

    def deliver(self, notification: Notification) -> Delivery:
        """One attempt."""
        self.given.append(notification)
        return self.answers.pop(0) if self.answers else ACCEPTED

    @property
    def reasons(self) -> list[NotifyReason]:
        """Why it was told, each time."""
        return [notification.reason for notification in self.given]


class House:
    """A service with a store, a clock and two receivers."""

    def __init__(self, url: str, settings: AlertingSettings = SETTINGS) -> None:
        self.clock = ManualClock(AT_S)
        self.store = Store(url, self.clock)
        self.store.migrate()
        self.pager, self.chat = ScriptedNotifier("pager"), ScriptedNotifier("chat")
        self.service = self.serve(settings)

    def serve(self, settings: AlertingSettings) -> AlertingService:
        """A service over the same store, as after a restart."""
        return AlertingService(
            self.store,
            settings,
            self.clock,
            notifiers={"pager": self.pager, "chat": self.chat},
            rng=random.Random(7),
        )

    def take(self, *records: Incident) -> None:
        """What remediation's intake does with each record."""
        for record in records:
            with self.store.transaction() as tx:
                previous = tx.incidents.get(record.id)
                if tx.incidents.put(record):
                    self.service.on_incident(tx, previous, record)

    def deliver(self, *, after_s: float = 0.0) -> int:
        """A pass of the loop."""
        self.clock.sleep(after_s)
        return self.service.deliver_due()

    def counts(self) -> dict[OutboxState, int]:
        """The outbox."""
        with self.store.reading() as tx:
            return tx.outbox.counts()


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A fresh one."""
    house = House(f"sqlite:///{tmp_path}/store.db")
    yield house
    house.store.close()


def named(id: str, **changes: object) -> Incident:
    """Another incident."""
    return replace(incident(), id=id, **changes)  # type: ignore[arg-type]  # fields of many types


def test_an_incident_is_told_from_its_opening_to_its_end(house: House) -> None:
    house.take(
        incident(provisional=True),
        incident(version=2),
        incident(version=3, severity=Severity.P0),
        incident(version=4, severity=Severity.P0),
        incident(version=5, status=IncidentStatus.RESOLVED),
    )
    while house.deliver():
        pass

    story = [NotifyReason.OPENED, NotifyReason.SEVERITY_RAISED, NotifyReason.RESOLVED]
    assert house.pager.reasons == house.chat.reasons == story
    assert house.pager.given[0].link == "http://127.0.0.1:8460/incidents/i-1"
    assert house.counts() == {OutboxState.DELIVERED: 6}


def test_severity_decides_who_is_told(house: House) -> None:
    house.take(incident(severity=Severity.P3))
    assert house.deliver() == 1

    assert house.pager.given == []
    assert house.chat.reasons == [NotifyReason.OPENED]


def test_what_the_intake_undoes_is_never_sent(house: House) -> None:
    class Failed(Exception):
        pass

    def fail() -> None:
        with house.store.transaction() as tx:
            tx.incidents.put(incident())
            house.service.on_incident(tx, None, incident())
            raise Failed

    with pytest.raises(Failed):
        fail()

    assert house.deliver() == 0
    assert house.counts() == {}


def test_the_same_record_twice_is_one_message(house: House) -> None:
    house.take(incident())
    with house.store.transaction() as tx:
        house.service.on_incident(tx, None, incident())

    assert house.deliver() == 2
    assert house.deliver() == 0


def test_a_failed_message_is_tried_again_on_schedule_with_the_same_id(house: House) -> None:
    house.take(incident(severity=Severity.P3))
    house.chat.answers = [DOWN, DOWN]

    assert house.deliver() == 0
    assert house.deliver(after_s=4.9) == 0
    assert len(house.chat.given) == 1
    assert house.deliver(after_s=0.2) == 0
    assert len(house.chat.given) == 2
    assert house.deliver(after_s=29.0) == 0
    assert house.deliver(after_s=1.1) == 1
    assert len({notification.id for notification in house.chat.given}) == 1


def test_after_the_last_attempt_it_is_a_dead_letter_and_can_be_replayed(house: House) -> None:
    house.take(incident(severity=Severity.P3))
    house.chat.answers = [DOWN, DOWN, DOWN]
    for wait_s in (0.0, 6.0, 31.0):
        house.deliver(after_s=wait_s)

    with house.store.reading() as tx:
        (row,) = tx.outbox.rejected()
        assert row.detail == "given up after 3 attempts: HTTP 503"
        assert tx.dead_letters.counts() == {"receiver": 1}
        (record,) = tx.audit.about("i-1")
        assert record.verb is AuditVerb.NOTIFIED
        assert record.detail["outcome"] == "rejected"

    assert house.service.replay(row.id)
    assert not house.service.replay(row.id)
    assert house.deliver() == 1


def test_a_receiver_is_given_the_patience_it_asks_for(house: House) -> None:
    house.take(incident(severity=Severity.P3))
    house.chat.answers = [Delivery(DeliveryState.RETRY, "HTTP 429", retry_after_s=600.0)]
    house.deliver()

    assert house.deliver(after_s=599.0) == 0
    assert house.deliver(after_s=1.0) == 1


def test_the_end_never_overtakes_the_opening(house: House) -> None:
    house.take(
        incident(severity=Severity.P3),
        incident(version=2, severity=Severity.P3, status=IncidentStatus.RESOLVED),
    )
    house.chat.answers = [DOWN]
    house.deliver()
    house.deliver(after_s=6.0)
    house.deliver()

    opened, end = NotifyReason.OPENED, NotifyReason.RESOLVED
    assert house.chat.reasons == [opened, opened, end]


def test_a_receiver_that_is_down_is_asked_once_and_keeps_nobody_waiting(house: House) -> None:
    house.take(*(named(f"i-{number}") for number in range(5)))
    house.pager.answers = [DOWN]

    assert house.deliver() == 5
    assert len(house.pager.given) == 1
    assert len(house.chat.given) == 5
    assert house.deliver(after_s=5.0) == 5
    assert house.counts() == {OutboxState.DELIVERED: 10}


def test_a_message_that_a_receiver_chokes_on_does_not_silence_it(house: House) -> None:
    house.take(named("i-0", severity=Severity.P3), named("i-1", severity=Severity.P3))
    house.chat.answers = [DOWN]
    house.deliver()
    house.chat.answers = [DOWN]  # the first message again
    house.deliver(after_s=5.0)
    house.deliver(after_s=5.0)

    assert [notification.incident.id for notification in house.chat.given] == ["i-0", "i-0", "i-1"]


def test_a_refused_message_is_a_dead_letter_at_once(house: House) -> None:
    house.take(incident(severity=Severity.P3))
    house.chat.answers = [Delivery(DeliveryState.REJECTED, "HTTP 404")]
    house.deliver()

    assert house.counts() == {OutboxState.REJECTED: 1}
    assert house.deliver(after_s=1e6) == 0


def test_an_answer_that_cannot_be_understood_is_counted_and_kept(house: House) -> None:
    house.take(incident(severity=Severity.P3))
    house.chat.answers = [Delivery(DeliveryState.RETRY, "not HTTP", answer=b"\x16\x03\x01")]
    house.deliver()

    with house.store.reading() as tx:
        (letter,) = tx.dead_letters.page(10)
        assert letter.payload == b"\x16\x03\x01"
        assert tx.dead_letters.counts() == {"receiver": 1}
    assert house.deliver(after_s=6.0) == 1


def test_a_receiver_that_is_gone_is_switched_off_until_somebody_switches_it_on(
    house: House,
) -> None:
    house.take(named("i-0", severity=Severity.P3), named("i-1", severity=Severity.P3))
    house.chat.answers = [Delivery(DeliveryState.GONE, "HTTP 410")]
    house.deliver()
    house.take(named("i-2", severity=Severity.P3))
    house.deliver()

    assert len(house.chat.given) == 1
    assert house.counts() == {OutboxState.REJECTED: 3}

    assert house.service.enable("chat")
    assert not house.service.enable("chat")
    house.take(named("i-3", severity=Severity.P3))
    assert house.deliver() == 1


def test_a_receiver_that_was_gone_and_has_another_address_is_asked_again(house: House) -> None:
    def at(url: str) -> AlertingSettings:
        receiver = ReceiverSettings(
            name="chat", kind="alertmanager", url=url, severities=tuple(Severity)
        )
        return AlertingSettings(receivers=(receiver,))

    house.service = house.serve(at("https://old.example"))
    house.take(named("i-0"))
    house.chat.answers = [Delivery(DeliveryState.GONE, "HTTP 410")]
    house.deliver()

    house.service = house.serve(at("https://new.example"))
    house.take(named("i-1"))
    assert house.deliver() == 1


def test_messages_for_a_receiver_that_settings_no_longer_name_are_given_up(house: House) -> None:
    house.take(incident())
    house.service = house.serve(SETTINGS.model_copy(update={"receivers": SETTINGS.receivers[:1]}))

    assert house.deliver() == 1
    assert house.counts() == {OutboxState.DELIVERED: 1, OutboxState.REJECTED: 1}


def test_a_message_that_cannot_be_read_is_given_up_and_stops_nothing(house: House) -> None:
    with house.store.transaction() as tx:
        tx.outbox.put(id="n-x", kind="notification", receiver="chat", body=b"\xff", at_s=0.0)
    house.take(incident(severity=Severity.P3))

    assert house.deliver() == 1
    assert house.counts() == {OutboxState.DELIVERED: 1, OutboxState.REJECTED: 1}


def test_a_loop_that_dies_before_it_knows_the_outcome_sends_again(house: House) -> None:
    house.take(incident(severity=Severity.P3))

    class Killed(BaseException):
        pass

    class DyingNotifier(ScriptedNotifier):
        def deliver(self, notification: Notification) -> Delivery:
            raise Killed

    alive, house.chat = house.chat, DyingNotifier("chat")
    house.service = house.serve(SETTINGS)
    with pytest.raises(Killed):
        house.deliver()

    house.chat = alive
    house.service = house.serve(SETTINGS)
    assert house.deliver() == 0  # the dead loop's hold has not run out
    assert house.deliver(after_s=SETTINGS.timeout_s * (SETTINGS.batch_max + 1)) == 1


def test_old_delivered_messages_are_forgotten_and_not_sent_again(house: House) -> None:
    house.take(incident())
    house.deliver()
    house.deliver(after_s=SETTINGS.keep_delivered_s + 1.0)
    assert house.counts() == {}

    house.take(incident(version=2), incident(version=3, status=IncidentStatus.RESOLVED))
    assert house.deliver() == 2
    assert house.pager.reasons == [NotifyReason.OPENED, NotifyReason.RESOLVED]


class TestAskingForDecisions:
    """A session that waits for a person is found in the store; nobody has to report it."""

    def wait(
        self, house: House, *words: Refusal, state: SessionState = SessionState.WAITING
    ) -> None:
        """A session whose first step was refused for these reasons, one after the other."""
        house.take(incident())
        house.deliver()
        with house.store.transaction() as tx:
            tx.plans.put(plan())
            tx.sessions.open(plan(), state=state, at_s=AT_S)
            for word in words:
                tx.verdicts.put(Verdict("p-1", 1, 0, AT_S, (Reason(word, ""),)))

    def test_it_is_asked_for_once(self, house: House) -> None:
        self.wait(house, Refusal.RATE_EXCEEDED, Refusal.APPROVAL_MISSING)

        assert [house.deliver(), house.deliver()] == [2, 0]
        assert house.pager.reasons == [NotifyReason.OPENED, NotifyReason.APPROVAL_NEEDED]

    def test_nobody_is_asked_when_something_else_is_in_the_way(self, house: House) -> None:
        self.wait(house, Refusal.HALTED)
        assert house.deliver() == 0

    def test_nobody_is_asked_any_more_once_the_last_word_is_another(self, house: House) -> None:
        self.wait(house, Refusal.APPROVAL_MISSING, Refusal.LEVEL_EXCEEDED)
        assert house.deliver() == 0

    def test_nobody_is_asked_about_a_session_that_goes_on(self, house: House) -> None:
        self.wait(house, Refusal.APPROVAL_MISSING, state=SessionState.RUNNING)
        assert house.deliver() == 0

    def test_who_was_not_told_of_the_incident_is_not_asked(self, house: House) -> None:
        house.take(incident(provisional=True))
        with house.store.transaction() as tx:
            tx.plans.put(plan())
            tx.sessions.open(plan(), state=SessionState.WAITING, at_s=AT_S)
            tx.verdicts.put(Verdict("p-1", 1, 0, AT_S, (Reason(Refusal.APPROVAL_MISSING, ""),)))
        assert house.deliver() == 0
