"""Charts of incidents: begun from what was at hand, extended until the end, never cut back."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest

from fleetmend.model.incidents import IncidentStatus
from fleetmend.streams.codec import decode
from fleetmend.streams.port import RawRecord, Record
from fleetmend.views import recent as recent_module
from tests.unit.charts.scene import NOW_S, POOL, POWER, Scene, gpu, incident, piece, resolved


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_chart_begins_before_the_onset_and_goes_on(scene: Scene) -> None:
    scene.seconds(200)
    scene.keep(incident(piece(POWER, gpu(0)), onset_s=NOW_S + 195))
    scene.seconds(10)

    own = scene.series()[gpu(0)]
    assert own.times_s[0] == NOW_S + 195 - 120
    assert own.times_s[-1] >= NOW_S + 207
    assert scene.series()[POOL].values[0] == 302.0  # the median of the other three


def test_a_restart_costs_nothing(scene: Scene) -> None:
    scene.seconds(200)
    scene.keep(incident(piece(POWER, gpu(0)), onset_s=NOW_S + 195))
    scene.seconds(20)
    before = scene.series()
    scene.seconds(30, step=False)  # while nobody runs

    scene.start()
    scene.steps()
    assert scene.series()[gpu(0)].times_s[: len(before[gpu(0)].times_s)] == before[gpu(0)].times_s
    scene.seconds(20)

    for entity in (gpu(0), POOL):
        times = scene.series()[entity].times_s
        assert times[0] == before[entity].times_s[0]
        assert max(b - a for a, b in pairwise(times)) == 1.0
    assert scene.series()[gpu(0)].times_s[-1] >= NOW_S + 265


def test_an_incident_that_opens_after_a_restart_shows_what_came_before_it(scene: Scene) -> None:
    scene.seconds(100)
    scene.start()
    scene.keep(incident(piece(POWER, gpu(0)), onset_s=NOW_S + 99))
    scene.seconds(5)

    assert scene.series()[gpu(0)].times_s[0] == NOW_S + 1


def test_a_mitigated_incident_goes_on_and_a_resolved_one_ends_at_its_end(scene: Scene) -> None:
    held = incident(piece(POWER, gpu(0)), onset_s=NOW_S + 10)
    scene.seconds(12)
    scene.keep(held)
    scene.seconds(5)
    mitigated = replace(held, version=2, status=IncidentStatus.MITIGATED)
    scene.keep(mitigated)
    scene.seconds(10)
    scene.keep(resolved(mitigated, NOW_S + 27))
    scene.seconds(30)

    assert scene.series()[gpu(0)].times_s[-1] == NOW_S + 27
    assert scene.series()[POOL].times_s[-1] == NOW_S + 27


def test_an_incident_that_ended_between_two_looks_has_its_charts(scene: Scene) -> None:
    scene.seconds(50)
    scene.keep(resolved(incident(piece(POWER, gpu(0)), onset_s=NOW_S + 40), NOW_S + 50))
    scene.seconds(10)

    times = scene.series()[gpu(0)].times_s
    assert (times[0], times[-1]) == (NOW_S + 1, NOW_S + 50)


def test_every_live_incident_is_drawn_not_the_newest_fifty(scene: Scene) -> None:
    scene.keep(
        *(incident(piece(POWER, gpu(0)), id=f"i-{n}", onset_s=NOW_S + n / 10) for n in range(60))
    )
    scene.seconds(5)

    assert all(scene.series(f"i-{n}") for n in range(60))


def test_each_batch_is_decoded_once_however_many_incidents_there_are(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.keep(*(incident(piece(POWER, gpu(k)), id=f"i-{k}") for k in range(4)))
    scene.seconds(5)
    decoded: list[int] = []

    def counted(record: RawRecord) -> Record:
        decoded.append(record.offset)
        return decode(record)

    monkeypatch.setattr(recent_module, "decode", counted)
    scene.seconds(30)

    assert len(decoded) == 30


def test_evidence_that_comes_later_gets_its_chart_from_before_the_onset(scene: Scene) -> None:
    scene.seconds(50)
    held = incident(piece(POWER, gpu(0)), onset_s=NOW_S + 45)
    scene.keep(held)
    scene.seconds(20)
    scene.keep(replace(held, version=2, evidence=(*held.evidence, piece(POWER, gpu(1)))))
    scene.seconds(5)

    assert scene.series()[gpu(1)].times_s[0] == NOW_S + 1


def test_a_long_chart_is_bounded_and_keeps_the_onset(tmp_path: Path) -> None:
    scene = Scene(tmp_path, points_max=50)
    scene.seconds(30)
    scene.keep(incident(piece(POWER, gpu(0)), onset_s=NOW_S + 29))
    scene.seconds(10, watts=100.0)
    scene.seconds(400)

    own = scene.series()[gpu(0)]
    assert len(own.times_s) <= 50
    assert own.times_s[0] == NOW_S + 1
    assert min(own.values) == 100.0
    assert own.times_s[-1] >= NOW_S + 425
