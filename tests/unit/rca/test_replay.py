"""The stage as a fold: the same records give the same incidents, whatever happens in between."""

from collections.abc import Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.settings.rca import RcaSettings
from rca.stage import RootCauseStage
from tests.unit.rca.faults import FAULTS
from tests.unit.rca.made_up import Fold, closed, racked, single

SINGLE = sorted(name for name, fault in FAULTS.items() if fault.fleet is single)


def history(names: list[str]) -> list[list[Finding]]:
    """What comes in each tick: one fault after the other, each for 12 ticks, then 10 of calm."""
    ticks: list[list[Finding]] = []
    for number, name in enumerate(names):
        at_s = 1000.0 + len(ticks)
        moved = [_at(finding, number, at_s) for finding in FAULTS[name].findings]
        ticks += [moved, *([] for _ in range(11))]
        ticks += [[closed(f, at_s=at_s + 12.0) for f in moved], *([] for _ in range(9))]
    return ticks


def _at(finding: Finding, number: int, at_s: float) -> Finding:
    symptoms = tuple(replace(s, onset_s=at_s) for s in finding.symptoms)
    return replace(
        finding,
        id=f"{finding.id}-{number}",
        tick=int(at_s),
        at_s=at_s + 1.0,
        onset_s=at_s,
        symptoms=symptoms,
    )


def play(fold: Fold, ticks: list[list[Finding]]) -> Iterator[list[Incident]]:
    for findings in ticks:
        yield fold.tick(*findings)


names = st.lists(st.sampled_from(SINGLE), min_size=1, max_size=3)


@given(names, st.integers(0, 65))
@settings(max_examples=12, deadline=None)
def test_a_restored_stage_goes_on_as_if_nothing_had_happened(faults: list[str], cut: int) -> None:
    ticks = history(faults)
    straight = Fold(single())
    expected = [list(found) for found in play(straight, ticks)]
    first = Fold(single())
    begun = [list(found) for found in play(first, ticks[:cut])]
    restored = RootCauseStage(RcaSettings())
    restored.restore(first.stage.snapshot())
    first.stage = restored
    assert begun + [list(found) for found in play(first, ticks[cut:])] == expected


@given(names, st.data())
@settings(max_examples=12, deadline=None)
def test_the_order_of_findings_within_a_tick_changes_nothing(
    faults: list[str], data: st.DataObject
) -> None:
    ticks = history(faults)
    shuffled = [data.draw(st.permutations(findings)) for findings in ticks]
    one, other = Fold(single()), Fold(single())
    assert list(play(one, ticks)) == list(play(other, shuffled))


@given(names)
@settings(max_examples=8, deadline=None)
def test_findings_that_come_twice_change_nothing(faults: list[str]) -> None:
    ticks = history(faults)
    one, other = Fold(single()), Fold(single())
    assert list(play(one, ticks)) == list(play(other, [[*f, *f] for f in ticks]))


@given(names)
@settings(max_examples=8, deadline=None)
def test_versions_count_up_and_end_with_resolved(faults: list[str]) -> None:
    fold = Fold(single())
    for _ in play(fold, history(faults)):
        pass
    fold.ticks(80)
    versions: dict[str, list[Incident]] = {}
    for incident in fold.published:
        versions.setdefault(incident.id, []).append(incident)
    for one in versions.values():
        assert [i.version for i in one] == list(range(1, len(one) + 1))
        assert one[0].change == "opened"
        assert one[-1].status.value in ("resolved", "merged")


def test_a_quiet_fleet_costs_nothing_and_says_nothing() -> None:
    fold = Fold(racked(4))
    assert fold.ticks(50) == []
