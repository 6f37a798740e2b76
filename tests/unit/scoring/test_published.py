"""What counts as published: the causes at 5 s, and later ones that blame something new."""

from dataclasses import replace

from fleetmend.model.entities import EntityId, key_of
from fleetmend.model.incidents import Cause, CauseRole, Incident, IncidentStatus, Severity
from fleetmend.scoring.published import openings, publish
from fleetmend.scoring.records import Opening

GPU = EntityId("c/gpu/gpu:0")
ENGINE = EntityId("c/engine/engine-0")


def cause(name: str, entity: EntityId, role: CauseRole = CauseRole.ROOT) -> Cause:
    return Cause(name, entity, 0.9, role, (), (), (entity,), ())


FIRST = Incident(
    id="INC-1",
    version=1,
    status=IncidentStatus.OPEN,
    provisional=False,
    severity=Severity.P1,
    severity_reason="",
    entity=GPU,
    title="",
    opened_at_s=100.0,
    updated_at_s=100.0,
    onset_s=98.0,
    causes=(cause("noisy_neighbour", GPU),),
    evidence=(),
    affected=(),
)


def version(number: int, at_s: float, *causes: Cause, status: str = "open") -> Incident:
    return replace(
        FIRST,
        version=number,
        updated_at_s=at_s,
        causes=causes or FIRST.causes,
        entity=causes[0].entity if causes else GPU,
        status=IncidentStatus(status),
        resolved_at_s=at_s if status == "resolved" else None,
    )


def test_causes_count_as_published_within_5_s() -> None:
    within = version(2, 105.0, cause("engine_hang", ENGINE))
    (incident,) = publish([FIRST, within], printed=key_of)
    assert [(c.cause, c.entity) for c in incident.causes] == [("engine_hang", "engine-0")]
    assert incident.updates == ()
    assert openings([incident]) == (
        Opening(100.0, "INC-1", (("engine_hang", "engine-0"),), "engine-0"),
    )


def test_a_later_cause_that_is_new_is_an_opening_of_its_own() -> None:
    later = version(2, 105.1, cause("engine_hang", ENGINE))
    (incident,) = publish([FIRST, later], printed=key_of)
    assert [c.cause for c in incident.causes] == ["noisy_neighbour"]
    assert [opening.at_s for opening in openings([incident])] == [100.0, 105.1]


def test_going_back_to_an_earlier_cause_is_no_opening() -> None:
    there = version(2, 110.0, cause("engine_hang", ENGINE))
    back = version(3, 120.0, cause("noisy_neighbour", GPU))
    (incident,) = publish([FIRST, there, back], printed=key_of)
    assert [update.opens for update in incident.updates] == [True, False]


def test_more_evidence_for_the_same_cause_is_no_opening() -> None:
    (incident,) = publish([FIRST, version(2, 130.0)], printed=key_of)
    assert [opening.at_s for opening in openings([incident])] == [100.0]


def test_causes_ruled_out_are_not_printed() -> None:
    out = cause("engine_hang", ENGINE, CauseRole.RULED_OUT)
    (incident,) = publish([version(1, 100.0, FIRST.causes[0], out)], printed=key_of)
    assert [c.cause for c in incident.causes] == ["noisy_neighbour"]


def test_order_and_repetition_of_the_records_change_nothing() -> None:
    records = [FIRST, version(2, 110.0, cause("engine_hang", ENGINE)), version(3, 140.0)]
    assert publish([*reversed(records), *records], printed=key_of) == publish(
        records, printed=key_of
    )


def test_the_time_of_resolution_is_published() -> None:
    done = version(2, 150.0, status="resolved")
    assert publish([FIRST, done], printed=key_of)[0].resolved_at_s == 150.0
    assert publish([FIRST], printed=key_of)[0].resolved_at_s is None
