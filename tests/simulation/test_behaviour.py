"""The fleet as a whole: repeatable, complete, and never out of nothing."""

import hashlib

import pytest

from fleetmend.model.entities import EntityKind, kind_of
from fleetmend.settings.simulator import FaultSchedule, SimulatorSettings
from fleetmend.signals.catalogue import catalogue
from fleetmend.views.topology import TopologyView
from simulator.fleet import Fleet
from tests.unit.simulator.fleets import Seen, small_fleet, watch

STORMY = FaultSchedule(speed_up=400_000, quiet_s=0, open_max=8, deploy_every_s=60)


def fingerprint(fleet: Fleet, seconds: int) -> str:
    """Everything that the fleet shows, as one hash."""
    mark = hashlib.blake2b()
    for change in fleet.topology():
        mark.update(repr(change).encode())
    for _ in range(seconds):
        fleet.advance_to(fleet.now_s + 1)
        batches, events = fleet.observe()
        for batch in batches:
            for part in (batch.time_s, batch.entity, batch.signal, batch.value):
                mark.update(part.tobytes())
            mark.update(repr((batch.entities, batch.signals)).encode())
        mark.update(repr(events).encode())
        mark.update(repr(fleet.topology()).encode())
    return mark.hexdigest()


def test_the_same_seed_gives_the_same_run_and_another_seed_another() -> None:
    first, again, other = (
        fingerprint(small_fleet(seed=seed, faults=STORMY), 60) for seed in (4, 4, 5)
    )

    assert first == again
    assert first != other


def test_a_long_stride_shows_the_same_as_many_short_ones() -> None:
    short, long = small_fleet(faults=STORMY), small_fleet(faults=STORMY)
    expected = watch(short, 40)
    long.advance_to(long.now_s + 40)
    batches, events = long.observe()
    seen = Seen(batches, events)

    assert seen.events == expected.events
    gpu = long.layout.gpu_ids[0]
    assert seen.values(gpu, "gpu.power").tolist() == expected.values(gpu, "gpu.power").tolist()


@pytest.mark.parametrize("faults", [STORMY, FaultSchedule(speed_up=0, deploy_every_s=0)])
def test_no_request_is_lost_or_invented(faults: FaultSchedule) -> None:
    fleet = small_fleet(faults=faults)
    for _ in range(30):
        fleet.advance_to(fleet.now_s + 10)
        fleet.observe()
        now = fleet.totals()
        assert now.arrived == now.running + now.waiting + now.done + now.aborted + now.refused
    assert now.done > 1_000
    assert bool(fleet.truth()) == bool(faults.speed_up)


def test_a_calm_fleet_serves_everybody() -> None:
    """Without faults nobody waits for long, nobody is turned away, nothing throttles or errs."""
    fleet = small_fleet()
    seen = watch(fleet, 120)
    now = fleet.totals()

    assert (now.aborted, now.refused) == (0, 0)
    assert now.waiting < 0.02 * now.running
    kinds = {event.type.value for event in seen.events}
    assert kinds == {"probe", "scrape"}
    assert all(event.data.get("ok", True) for event in seen.events)
    assert {event.data.get("outcome", "ok") for event in seen.events} == {"ok"}
    for gpu in fleet.layout.gpu_ids[:16]:
        assert seen.values(gpu, "gpu.recovery_action").max() == 0
        assert seen.mean(gpu, "gpu.temperature") < 70
    assert not fleet.truth()


def test_every_signal_is_in_the_catalogue_and_on_the_right_kind_of_entity() -> None:
    known = catalogue().signals
    fleet = small_fleet(faults=STORMY)
    for _ in range(30):
        fleet.advance_to(fleet.now_s + 1)
        for batch in fleet.observe()[0]:
            for signal, entity in {
                (batch.signals[s], batch.entities[e])
                for s, e in zip(batch.signal.tolist(), batch.entity.tolist(), strict=True)
            }:
                assert kind_of(entity) is known[signal].entity, signal


def test_shares_are_shares_and_counters_only_rise() -> None:
    fleet = small_fleet()
    seen = watch(fleet, 60)
    gpu = fleet.layout.gpu_ids[0]
    for signal in catalogue().signals.values():
        values = seen.values(gpu, signal.name)
        if signal.entity is not EntityKind.GPU or not len(values):
            continue
        if signal.shape.value == "counter":
            assert (values[1:] >= values[:-1]).all(), signal.name
        if signal.shape.value == "gauge" and signal.unit == "1":
            assert ((values >= 0) & (values <= 1)).all(), signal.name


def test_the_topology_names_every_entity_that_speaks() -> None:
    """At the start and after pods have moved; engines that are gone are forgotten."""
    fleet = small_fleet(faults=STORMY)
    view = TopologyView()
    for _ in range(60):
        for change in fleet.topology():
            view.apply(change)
        fleet.advance_to(fleet.now_s + 5)
        for change in fleet.topology():
            view.apply(change)
        for batch in fleet.observe()[0][-3:]:
            speaking = {batch.entities[code] for code in set(batch.entity.tolist())}
            assert all(entity in view for entity in speaking)
    engines = list(view.of_kind(EntityKind.ENGINE))
    assert len(engines) <= len(fleet.layout.engine_names)
    for engine in engines:
        assert view.ancestor(engine, EntityKind.NODE) is not None
        assert view.ancestor(engine, EntityKind.RACK) is not None


def test_unread_observations_are_bounded_and_counted() -> None:
    settings = SimulatorSettings(gpus=24, backlog_s=10, settle_s=0)
    fleet = Fleet(settings, 1)
    fleet.advance_to(fleet.now_s + 25)
    batches, _ = fleet.observe()

    assert {float(batch.time_s[0]) for batch in batches} == {
        fleet.now_s - back for back in range(10)
    }
    assert fleet.dropped_s == 15


def test_a_wish_for_the_past_changes_nothing() -> None:
    fleet = small_fleet()
    before = fleet.now_s
    fleet.advance_to(before - 100)

    assert fleet.now_s == before
    assert fleet.observe() == ([], [])


def test_the_load_swings_over_the_day() -> None:
    """Noon brings more than midnight, by the swing that is set."""
    settings = SimulatorSettings(gpus=64, faults=FaultSchedule(speed_up=0, deploy_every_s=0))
    came = []
    for hour in (0, 12):
        fleet = Fleet(settings, 1, start_s=1_767_225_600 + 3_600 * hour)
        before = fleet.totals().arrived
        fleet.advance_to(fleet.now_s + 60)
        came.append(fleet.totals().arrived - before)

    assert came[1] / came[0] == pytest.approx(1.25 / 0.75, rel=0.25)
