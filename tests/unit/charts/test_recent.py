"""The last minutes of samples: bounded by the log's own clock, whatever collectors' clocks say."""

import pytest

from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.port import Outgoing
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import Topic
from fleetmend.views.recent import RecentSamples

NOW_S = 1_700_000_000.0
POWER = "gpu.power"
CARD = entity_id("c", EntityKind.GPU, "g0")
OTHER = entity_id("c", EntityKind.GPU, "g1")


class Scene:
    """A log, its clock, and somebody who follows it."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOW_S)
        self.log = SqliteLog(":memory:", clock=self.clock, partitions=1)
        self.recent = RecentSamples(self.log, keep_s=100.0)

    def say(self, *rows: tuple[float, EntityId, float]) -> None:
        """One batch of power readings."""
        batch = SampleBatch.from_rows((at_s, entity, POWER, watts) for at_s, entity, watts in rows)
        self.log.append([Outgoing(Topic.SAMPLES, "n0", batch)])

    def power(self, entity: EntityId = CARD, *, since_s: float = 0.0) -> list[float]:
        """What is at hand of an entity."""
        tracks = self.recent.tracks({entity}, {POWER}, since_s=since_s)
        return tracks[entity, POWER][1].tolist() if (entity, POWER) in tracks else []


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_clock_far_ahead_drops_nobody_elses_samples(scene: Scene) -> None:
    scene.say((NOW_S, CARD, 300.0))
    scene.say((NOW_S + 86_400.0, OTHER, 1.0))
    scene.recent.step()
    scene.clock.advance_to(NOW_S + 1)
    scene.say((NOW_S + 1, CARD, 301.0))
    scene.recent.step()

    assert scene.power() == [300.0, 301.0]
    assert scene.recent.newest_s <= NOW_S + 1 + 60


def test_samples_of_the_future_are_not_shown(scene: Scene) -> None:
    scene.say((NOW_S, CARD, 300.0), (NOW_S + 3600.0, CARD, 999.0))
    scene.recent.step()

    assert scene.power() == [300.0]
    assert [len(batch) for batch in scene.recent.fresh()] == [1]


def test_a_clock_far_behind_holds_nothing_longer(scene: Scene) -> None:
    scene.say((NOW_S - 1e6, OTHER, 1.0))
    scene.recent.step()
    scene.clock.advance_to(NOW_S + 101)
    scene.say((NOW_S + 101, CARD, 300.0))
    scene.recent.step()

    assert scene.power(OTHER, since_s=-1.0) == []
    assert scene.power() == [300.0]


def test_what_is_kept_is_bounded_in_bytes() -> None:
    scene = Scene()
    scene.recent = RecentSamples(scene.log, keep_s=100.0, bytes_max=5000)
    for number in range(40):
        scene.say((NOW_S + number / 100, CARD, float(number)))
    scene.recent.step()

    held = scene.power()
    assert 0 < len(held) < 40
    assert held[-1] == 39.0


def test_what_came_before_is_read_again_after_a_restart(scene: Scene) -> None:
    for second in range(3):
        scene.say((NOW_S + second, CARD, float(second)))
    scene.recent.step()
    places = scene.recent.oldest()
    scene.say((NOW_S + 3, CARD, 3.0))

    again = RecentSamples(scene.log, keep_s=100.0)
    again.rewind(places)
    again.step()

    scene.recent = again
    assert scene.power() == [0.0, 1.0, 2.0, 3.0]


def test_places_that_the_log_does_not_have_do_not_stop_the_reading(scene: Scene) -> None:
    scene.recent.rewind({"samples/0": 10_000, "samples/77": 3})
    scene.say((NOW_S, CARD, 300.0))
    scene.recent.step()

    assert scene.power() == [300.0]
