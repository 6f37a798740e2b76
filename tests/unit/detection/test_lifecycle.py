"""Findings open once, grow under their id, and close after a quiet time."""

from dataclasses import replace

from detection.base import Opinion
from detection.lifecycle import Lifecycle, Moment
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom, finding_id

GPU = entity_id("c", EntityKind.GPU, "a")


def at(tick: int) -> Moment:
    return Moment(tick, tick + 1.0, tick + 1.2)


def opinion(*symptoms: str, reason: str = "r", confidence: float = 0.5) -> Opinion:
    return Opinion(
        detector="d",
        entity=GPU,
        key="k",
        reason=reason,
        witness=Witness.TELEMETRY,
        confidence=confidence,
        symptoms=tuple(Symptom(s, Direction.UP, 1.0, 3.0) for s in symptoms or ("a",)),
        onset_s=3.0,
    )


def states(findings: list[Finding]) -> list[FindingState]:
    return [finding.state for finding in findings]


def test_it_opens_once_and_closes_after_the_quiet_time() -> None:
    life = Lifecycle(quiet_s=2.0)
    (first,) = life.take([opinion()], at(5))

    assert first.state is FindingState.OPEN
    assert first.id == finding_id(GPU, "d", "k", 5)
    assert (first.tick, first.at_s) == (5, 6.2)
    assert life.take([opinion()], at(6)) == []
    assert life.take([], at(7)) == life.take([], at(8)) == []
    (last,) = life.take([], at(9))
    assert (last.id, last.state, last.tick) == (first.id, FindingState.CLOSED, 9)
    assert life.take([], at(10)) == []


def test_a_new_symptom_is_a_record_under_the_same_id_and_keeps_the_others() -> None:
    life = Lifecycle(quiet_s=2.0)
    (first,) = life.take([opinion("a")], at(5))
    (second,) = life.take([opinion("b")], at(6))

    assert second.id == first.id
    assert [s.name for s in second.symptoms] == ["a", "b"]


def test_a_symptom_keeps_its_first_onset_and_its_strongest_form() -> None:
    life = Lifecycle(quiet_s=2.0)
    life.take([opinion("a")], at(5))
    stronger = replace(opinion(), symptoms=(Symptom("a", Direction.UP, 9.0, 4.0),))
    (record,) = life.take([replace(stronger, confidence=0.9)], at(6))

    assert record.symptoms == (Symptom("a", Direction.UP, 9.0, 3.0),)


def test_a_weaker_opinion_neither_changes_the_reason_nor_the_confidence() -> None:
    life = Lifecycle(quiet_s=2.0)
    life.take([opinion(reason="strong", confidence=0.8)], at(5))
    assert life.take([opinion(reason="weak", confidence=0.3)], at(6)) == []
    (record,) = life.take([opinion(reason="stronger", confidence=0.9)], at(7))
    assert (record.reason, record.confidence) == ("stronger", 0.9)


def test_confidence_that_creeps_up_is_told_once_it_has_come_far() -> None:
    life = Lifecycle(quiet_s=2.0)
    life.take([opinion(confidence=0.5)], at(0))
    told = [life.take([opinion(confidence=0.5 + 0.04 * n)], at(n)) for n in range(1, 6)]

    assert [len(records) for records in told] == [0, 0, 1, 0, 0]


def test_what_a_learned_detector_shows_stays_as_it_opened() -> None:
    life = Lifecycle(quiet_s=2.0)
    model = replace(opinion("a"), witness=Witness.MODEL)
    life.take([model], at(5))
    assert life.take([replace(opinion("b"), witness=Witness.MODEL)], at(6)) == []


def test_an_announced_id_that_turns_out_to_be_another_finding_is_closed() -> None:
    life = Lifecycle(quiet_s=50.0)
    (first,) = life.take([replace(opinion(), opening_tick=4)], at(5))
    (twin,) = life.take([replace(opinion(), opening_tick=5)], at(6))

    assert first.id == finding_id(GPU, "d", "k", 4)
    assert (twin.id, twin.state) == (finding_id(GPU, "d", "k", 5), FindingState.CLOSED)
    assert life.is_open(GPU, "d", "k")


def test_hostile_detail_is_cut() -> None:
    (record,) = Lifecycle(quiet_s=1.0).take([replace(opinion(), detail="x" * 5000)], at(0))
    assert len(record.detail) <= 200


def test_it_goes_on_from_a_snapshot_as_if_nothing_had_happened() -> None:
    one, other = Lifecycle(quiet_s=2.0), Lifecycle(quiet_s=2.0)
    one.take([opinion("a")], at(5))
    other.restore(one.snapshot())

    for tick, opinions in ((6, [opinion("b")]), (7, []), (8, []), (9, []), (10, [])):
        assert one.take(opinions, at(tick)) == other.take(opinions, at(tick))


def test_what_stays_open_is_said_again_once_a_day() -> None:
    """The log keeps findings for a week; who starts then must still find it."""
    life = Lifecycle(quiet_s=200_000.0)
    (first,) = life.take([opinion()], at(5))
    day = 86_400
    assert life.take([opinion()], at(day)) == []

    (again,) = life.take([opinion()], at(day + 6))
    assert life.take([opinion()], at(day + 7)) == []

    assert again == replace(first, tick=day + 6, at_s=day + 7.2)
