"""What an on-call engineer reads on the incident page: bounded, in order, without riddles."""

from dataclasses import replace

import pytest

from console.present.case import IncidentCase, read_case
from console.present.causes import SHOWN_MAX, cause_views
from console.present.evidence import by_interest
from console.present.summary import expected, sentences
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import Cause, CauseRole, Evidence
from fleetmend.model.plans import SessionState
from fleetmend.store import Store
from tests.unit.console.builder import MADE, NOW_S, gpu, incident, plan
from tests.unit.console.client import Bench


def piece(number: int, symptom: str, *, score: float = 5.0, **other: object) -> Evidence:
    made = Evidence(
        id=f"E{number}",
        finding=f"f{number}",
        entity=gpu(7, 1),
        symptom=symptom,
        direction=Direction.DOWN,
        witness=Witness.TELEMETRY,
        onset_s=NOW_S,
        score=score,
    )
    return replace(made, **other)  # type: ignore[arg-type]


def cause(name: str, score: float, role: CauseRole = CauseRole.CANDIDATE) -> Cause:
    return Cause(
        cause=name,
        entity=gpu(7, 1),
        score=score,
        role=role,
        supports=("E1",),
        contradicts=("absent:gpu.pcie_rx", "absent:gpu.pcie_rx", "absent:gpu.sm_clock", "E1"),
        path=(),
        runbooks=(),
    )


def case_of(*causes: Cause, evidence: tuple[Evidence, ...] = ()) -> IncidentCase:
    made = incident(causes=causes, evidence=evidence or (piece(1, "gpu.power"),))
    return IncidentCase(made, (), (), (), (), (), ())


def shown(*causes: Cause) -> list[str]:
    return [view.name for view in cause_views(case_of(*causes)) if not view.folded]


def test_what_is_ruled_out_or_far_less_likely_is_folded_away() -> None:
    assert shown(
        cause("a", 0.9, CauseRole.ROOT),
        cause("b", 0.5, CauseRole.RULED_OUT),
        cause("c", 0.3),
        cause("d", 0.01),
    ) == ["A", "C"]


def test_two_that_explain_it_equally_well_are_both_shown_however_low_they_score() -> None:
    causes = [cause(name, 0.04) for name in "abcde"]
    assert len(shown(*causes)) == SHOWN_MAX


def test_no_root_cause_is_folded_away() -> None:
    causes = [cause(name, 0.9 - number / 10, CauseRole.ROOT) for number, name in enumerate("abcde")]
    assert len(shown(*causes)) == 5


def test_symptoms_that_are_not_seen_are_one_line_each_once() -> None:
    (view,) = cause_views(case_of(cause("a", 0.9)))
    assert len(view.missing) == 2
    assert [argument.evidence for argument in view.contradicts] == ["E1"]


def test_the_story_begins_with_what_the_driver_said_not_with_the_deepest_fall() -> None:
    evidence = (
        *(piece(n, f"gpu.signal_{n}", score=100.0 + n) for n in range(2, 9)),
        piece(1, "xid.79", score=1.0, direction=Direction.PRESENT, witness=Witness.KERNEL_LOG),
    )
    told = sentences(case_of(cause("gpu_fallen_off_bus", 1.0, CauseRole.ROOT), evidence=evidence))
    claims = ["".join(part.text for part in sentence) for sentence in told[:4]]
    assert any(claim.startswith("Xid 79") for claim in claims)


def test_the_story_tells_each_symptom_once_before_any_twice() -> None:
    evidence = (
        *(
            piece(card, "gpu.sm_active", score=50.0 + card, entity=gpu(7, card))
            for card in range(4)
        ),
        piece(8, "engine.ttft_p50", score=9.0),
        piece(9, "gpu.power", score=8.0),
    )
    told = sentences(case_of(cause("a", 1.0), evidence=evidence))
    refs = {part.text for sentence in told[:4] for part in sentence if part.kind == "evidence"}
    assert {"E3", "E8", "E9"} < refs


def test_a_share_is_not_expected_above_all_of_it() -> None:
    of_all = piece(1, "gpu.utilization", unit="ratio", expected_low=0.655, expected_high=1.06)
    assert expected(of_all) == "at least 65.5 %"
    assert expected(replace(of_all, expected_high=0.9)) == "65.5 to 90 %"


def test_every_symptom_has_its_chart_before_any_has_two() -> None:
    evidence = tuple(
        piece(3 * card + number, symptom, score=10.0 - card - number / 10, entity=gpu(7, card))
        for card in range(2)
        for number, symptom in enumerate(("gpu.power", "gpu.utilization", "gpu.sm_clock"))
    )
    ranked = by_interest(evidence)
    assert [e.symptom for e in ranked[:3]] == ["gpu.power", "gpu.utilization", "gpu.sm_clock"]
    assert {e.entity for e in ranked[:3]} == {gpu(7, 0)}
    assert len(ranked) == len(evidence)


def put(store: Store, session: bool, name: str) -> None:
    """An incident with a plan for node 9; with a session where wanted."""
    with store.transaction() as tx:
        tx.incidents.put(incident(name, entity=gpu(9, 1), causes=(cause("a", 0.9),)))
        made = plan(f"plan-of-{name}", name, number=9)
        tx.plans.put(made)
        if session:
            tx.sessions.open(made, state=SessionState.RUNNING, at_s=NOW_S)


def test_a_plan_without_a_session_says_whose_repair_it_waits_for(fresh: Bench) -> None:
    put(fresh.store, session=True, name="inc-first")
    put(fresh.store, session=False, name="inc-second")

    html = fresh.client.get("/incidents/inc-second").text
    assert "Waits for another repair" in html
    assert 'href="/incidents/inc-first#plan"' in html
    with fresh.store.reading() as tx:
        case = read_case(tx, "inc-first")
    assert case is not None
    assert case.current is not None
    assert case.current.holder is None


@pytest.mark.parametrize("at", ["/fleet", f"/incidents/{MADE.hot}"])
def test_the_counts_beside_every_page_follow_the_live_stream(fresh: Bench, at: str) -> None:
    page = fresh.client.get(at).text
    assert f'hx-get="/rail?at={at}"' in page
    before = fresh.client.get("/rail", params={"at": at}).text
    with fresh.store.transaction() as tx:
        tx.incidents.put(incident("inc-new"))
    after = fresh.client.get("/rail", params={"at": at}).text

    assert after != before
    assert after.lstrip().startswith('<nav class="rail" id="rail"')
    assert after.count('aria-current="page"') == 1


def test_how_bad_it_is_comes_first(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}").text
    strip = html[html.index('id="impact"') :]
    assert strip.index("How bad") < strip.index("Open for") < strip.index("Affected")
    assert "P99 latency over 2 s" in strip
