"""The ledger as it is published: what is expected, from the past and from peers, and how well it is
heard; what changes is said once, also over a restart."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleetmend.model.coverage import LEDGER, Coverage, Freshness
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.streams.snapshot import pack, unpack
from tests.unit.detection.play import Rows, relation, stage
from tests.unit.detection.scraped import ENGINES, GPUS, NODES, SCRAPER, Watch, beat, calm, scraped

EVERYTHING = {*NODES, *ENGINES, *GPUS}


@pytest.fixture
def watch() -> Watch:
    """Forty healthy seconds, and what the ledger says after some more."""
    made = calm(40)
    made.run(1)
    return made


def fresh_watch(seconds: int = 45) -> Watch:
    made = Watch()
    made.run(seconds)
    return made


def test_everything_that_is_heard_is_in_the_ledger_with_its_signals_node_and_pool() -> None:
    watch = fresh_watch()
    assert watch.entries.keys() == EVERYTHING | {LEDGER}
    assert set(watch.states.values()) == {Freshness.FRESH}
    gpu = watch.entries[GPUS[3]]
    assert gpu.signals == {Freshness.FRESH: ("gpu.power", "gpu.sm_clock")}
    assert (gpu.node, gpu.pool, gpu.every_s) == (NODES[1], "chat", 1.0)
    assert (gpu.expected, gpu.missing) == (2, ())


def test_what_stays_as_it_is_is_said_once() -> None:
    watch = fresh_watch(41)
    before = len(watch.told)
    watch.run(30)
    assert {entry.entity for entry in watch.told[before:]} == {LEDGER}


def test_all_is_said_again_within_a_day_since_the_log_forgets(watch: Watch) -> None:
    watch.told.clear()
    watch.feed({}, skip=90_000)
    watch.run(10)
    assert {entry.entity for entry in watch.told} == EVERYTHING | {LEDGER}


def test_the_ledger_says_every_ten_seconds_how_far_it_has_come(watch: Watch) -> None:
    watch.run(40)
    own = [entry for entry in watch.told if entry.entity == LEDGER]
    assert [entry.at_s for entry in own] == [41.2, 51.2, 61.2, 71.2, 81.2]
    assert {entry.since_s for entry in own} == {own[0].since_s}


def test_a_silent_entity_is_late_then_absent_and_fresh_when_it_speaks(watch: Watch) -> None:
    seen = []
    for _ in range(9):
        watch.second(silent={ENGINES[0]})
        seen.append(watch.states.get(ENGINES[0], Freshness.FRESH))
    assert [state.value for state in seen] == ["fresh"] * 2 + ["late"] * 3 + ["absent"] * 4
    entry = watch.entries[ENGINES[0]]
    assert (entry.heard_s, entry.since_s) == (40.0, 46.0)
    assert entry.signals == {Freshness.ABSENT: ("engine.kv_usage", "engine.requests_running")}
    watch.run(1)
    assert watch.states[ENGINES[0]] is Freshness.FRESH


def test_a_page_that_is_not_read_makes_absent_at_once(watch: Watch) -> None:
    watch.run(2, unread={ENGINES[0]})
    assert watch.states[ENGINES[0]] is Freshness.ABSENT


def lacking(watch: Watch, entity: EntityId, signal: str) -> None:
    """A second in which one signal is left out of what an entity sends."""
    sent: list[Rows] = []
    feed = watch.feed
    watch.feed = lambda rows, **more: sent.append(rows)  # type: ignore[method-assign]
    watch.second()
    watch.feed = feed  # type: ignore[method-assign]
    del sent[0][entity, signal]
    watch.feed(sent[0])


def test_one_signal_that_stops_makes_its_entity_late_and_is_named() -> None:
    watch = fresh_watch()
    for _ in range(20):
        lacking(watch, GPUS[0], "gpu.sm_clock")
    entry = watch.entries[GPUS[0]]
    assert entry.state is Freshness.LATE
    assert entry.signals == {
        Freshness.FRESH: ("gpu.power",),
        Freshness.ABSENT: ("gpu.sm_clock",),
    }
    assert entry.missing == ("gpu.sm_clock",)


def test_what_all_peers_send_is_expected_of_who_never_did() -> None:
    watch = Watch()
    for _ in range(50):
        lacking(watch, GPUS[0], "gpu.sm_clock")
    entry = watch.entries[GPUS[0]]
    assert entry.signals[Freshness.NEVER] == ("gpu.sm_clock",)
    assert entry.state is Freshness.FRESH
    assert watch.open == {}


def test_what_the_topology_knows_and_nobody_heard_is_never_heard_with_what_peers_send() -> None:
    new = entity_id("c", EntityKind.GPU, "GPU-99")
    watch = Watch(topology=[*scraped(), TopologyChange(-1.0, TopologyOp.ENTITY, new)])
    watch.run(61)
    entry = watch.entries[new]
    assert (entry.state, entry.heard_s) == (Freshness.NEVER, None)
    watch.feed({(new, "gpu.power"): 1.0})
    for _ in range(6):
        watch.feed({(new, "gpu.power"): 1.0})
    assert watch.states[new] is Freshness.FRESH


def test_a_page_that_was_never_read_is_never_heard_and_not_absent() -> None:
    """A new engine loads its model for minutes: its page refuses, and that is no failure yet."""
    watch = Watch()
    watch.run(40, unread={ENGINES[0]})
    assert watch.states[ENGINES[0]] is Freshness.NEVER
    assert watch.open == {}


def test_what_has_left_the_fleet_leaves_the_ledger(watch: Watch) -> None:
    gone = TopologyChange(41.0, TopologyOp.ENTITY_GONE, GPUS[0])
    watch.second(silent={GPUS[0]}, topology=[gone])
    assert [e.entity for e in watch.told if e.gone] == [GPUS[0]]
    watch.run(20, silent={GPUS[0]})
    assert GPUS[0] not in {e.entity for e in watch.told if not e.gone and e.at_s > 42.0}


def test_a_card_that_moves_is_in_the_ledger_under_its_new_node() -> None:
    watch = fresh_watch()
    assert watch.entries[GPUS[0]].node == NODES[0]
    old = relation(GPUS[0], NODES[0], RelationKind.PART_OF, at_s=45.0)
    moved = [
        replace(old, op=TopologyOp.RELATION_GONE),
        relation(GPUS[0], NODES[3], RelationKind.PART_OF, at_s=45.0),
    ]
    watch.second(topology=moved)
    watch.run(4, silent={GPUS[0]})
    entry = watch.entries[GPUS[0]]
    assert (entry.state, entry.node) == (Freshness.LATE, NODES[3])


def test_collectors_are_in_the_ledger_by_their_beats(watch: Watch) -> None:
    kube = entity_id("c", EntityKind.COLLECTOR, "kubernetes")
    seen = []
    for _ in range(70):
        at = watch.play.tick + 1
        watch.second(events=[beat(kube, at + 0.5)] if at % 10 == 0 and at < 75 else ())
        seen.append(watch.states.get(kube))
    assert list(dict.fromkeys(seen)) == [
        None,
        Freshness.FRESH,
        Freshness.LATE,
        Freshness.ABSENT,
    ]
    watch.run(8, mute=True)
    assert watch.states[SCRAPER] is Freshness.ABSENT


HOLES = st.lists(
    st.tuples(st.sampled_from([*ENGINES, *GPUS[:4], NODES[0]]), st.integers(0, 15)), max_size=6
)


@settings(max_examples=8, deadline=None)
@given(holes=HOLES, cut=st.integers(0, 19))
def test_a_restart_anywhere_learns_nothing_anew_and_says_nothing_else(
    holes: list[tuple[EntityId, int]], cut: int
) -> None:
    """Whatever is silent when, the ledger and the findings of a stage that was saved and restored
    at any second are those of one that ran through."""

    def run(*, restart: bool) -> tuple[list[Coverage], list[object]]:
        watch = calm(40)
        for at in range(20):
            watch.second(silent={entity for entity, since in holes if since <= at < since + 8})
            if restart and at == cut:
                _, state = unpack(pack(None, watch.play.stage.snapshot()))
                watch.play.stage = stage()
                watch.play.stage.restore(state)
        return watch.told, list(watch.findings)

    assert run(restart=True) == run(restart=False)


@pytest.mark.parametrize("skip", [1, 60, 3600, 100_000])
def test_time_in_which_nobody_spoke_is_nobodys_silence(watch: Watch, skip: int) -> None:
    """The whole platform was down: after the restart nobody is missed."""
    kube = entity_id("c", EntityKind.COLLECTOR, "kubernetes")

    def beating(seconds: int) -> None:
        for _ in range(seconds):
            at = watch.play.tick + 1
            watch.second(events=[beat(kube, at + 0.5)] if at % 10 == 0 else ())

    beating(30)
    watch.feed({}, skip=skip - 1)
    beating(15)
    assert kube in watch.entries
    assert watch.findings == []
    assert set(watch.states.values()) == {Freshness.FRESH}
