"""How a simulated fleet's incidents and acts are judged."""

from fleetmend.model.entities import EntityId
from fleetmend.scoring.closed_loop import GRACE_S, Act, Blamed, Done, judge

GPU, ENGINE, NODE = (EntityId(f"sim/{kind}/a") for kind in ("gpu", "engine", "node"))
ELSEWHERE = EntityId("sim/gpu/b")


def fault(name: str = "one", cause: str = "gpu_fallen_off_bus", **changed: object) -> Done:
    values: dict[str, object] = {
        "id": name,
        "cause": cause,
        "affected": frozenset({GPU, ENGINE, NODE}),
        "started_at_s": 100.0,
        "ended_at_s": 200.0,
        "benign": False,
        "by_people": False,
    }
    return Done(**{**values, **changed})  # type: ignore[arg-type]


def said(at_s: float, cause: str, entity: EntityId = GPU) -> Blamed:
    return Blamed(f"INC-{at_s}", at_s, cause, entity)


def test_the_right_name_on_anything_the_fault_reached_is_right() -> None:
    (one,) = judge([fault()], [said(101.0, "gpu_fallen_off_bus", NODE)], []).answered
    assert len(one.right) == 1
    assert one.misnamed == []


def test_another_name_is_found_but_not_named() -> None:
    figures = judge([fault()], [said(101.0, "engine_crash")], []).figures()
    assert (figures["found"], figures["named"], figures["false"]) == (1, 0, 0)


def test_the_right_name_in_the_second_word_is_not_the_first() -> None:
    openings = [said(101.0, "engine_crash"), said(103.0, "gpu_fallen_off_bus")]
    figures = judge([fault()], openings, []).figures()
    assert (figures["named"], figures["named_first"], figures["more_than_one"]) == (1, 0, 1)


def test_before_it_began_long_after_it_and_elsewhere_is_false() -> None:
    openings = [
        said(99.0, "gpu_fallen_off_bus"),
        said(201.0 + GRACE_S, "gpu_fallen_off_bus"),
        said(150.0, "gpu_fallen_off_bus", ELSEWHERE),
    ]
    assert judge([fault()], openings, []).figures()["false"] == 3


def test_a_fault_that_lasts_is_answered_at_any_time() -> None:
    late = said(9_000.0, "gpu_fallen_off_bus")
    assert judge([fault(ended_at_s=None)], [late], []).figures()["found"] == 1


def test_of_two_faults_in_one_place_each_gets_the_one_that_names_it() -> None:
    first, second = fault(), fault("two", "thermal_throttling", started_at_s=120.0)
    openings = [said(130.0, "gpu_fallen_off_bus"), said(140.0, "thermal_throttling")]
    assert [len(one.right) for one in judge([first, second], openings, []).answered] == [1, 1]


def test_an_incident_about_a_lawful_change_is_false() -> None:
    figures = judge([fault(benign=True)], [said(101.0, "bad_rollout")], []).figures()
    assert (figures["faults"], figures["false"]) == (0, 1)


def test_an_act_on_what_no_fault_had_reached_is_wrong() -> None:
    acts = [Act("cordon", NODE, 110.0), Act("cordon", ELSEWHERE, 110.0), Act("drain", NODE, 50.0)]
    assert judge([fault()], [], acts).wrong_acts == (acts[1], acts[2])


def test_what_only_people_ended_is_counted() -> None:
    ended = [fault(), fault("two", by_people=True), fault("three", ended_at_s=None)]
    figures = judge(ended, [], []).figures()
    assert (figures["ended"], figures["ended_without_people"]) == (2, 1)
    assert figures["mttr_p50_s"] == 100.0
