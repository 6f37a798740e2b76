"""Whose silence it is: one finding on the domain, and none on its children."""

import pytest

from fleetmend.model.entities import (
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Witness
from fleetmend.model.findings import FindingState
from fleetmend.streams.snapshot import pack, unpack
from tests.unit.detection.play import ENGINE, NODE, Life, Play, fleet, opened, relation, stage
from tests.unit.detection.scraped import (
    CLUSTER,
    ENGINES,
    GPUS,
    NODES,
    POOL,
    SCRAPER,
    Watch,
    agent,
    beat,
    calm,
    scrape,
    scraped,
)


@pytest.fixture
def watch() -> Watch:
    """Forty healthy seconds."""
    return calm(40)


def test_a_scraper_that_dies_is_one_finding_however_many_it_watched(watch: Watch) -> None:
    watch.run(20, mute=True)
    (finding,) = [f for f in watch.findings if f.state is FindingState.OPEN]

    assert (finding.entity, finding.reason) == (SCRAPER, "collector_quiet")
    assert finding.witness is Witness.SILENCE
    assert finding.onset_s == 40.0
    assert "8 subjects" in finding.detail
    assert finding.at_s <= 48.0

    watch.run(6)
    assert watch.open == {}


def test_children_that_are_slower_than_others_are_not_accused_meanwhile() -> None:
    """Engines are read each second and nodes every ten: the engines fall silent long before it can
    be told that the nodes are not read either."""
    watch = Watch()

    def second() -> None:
        away = (*NODES, *GPUS) if (watch.play.tick + 1) % 10 else ()
        watch.second(silent=away)

    for _ in range(100):
        second()
    for _ in range(40):
        watch.second(mute=True)
    assert {(f.entity, f.reason) for f in watch.findings} == {(SCRAPER, "collector_quiet")}


def test_one_that_is_silent_beside_others_that_are_read_is_accused_at_once(watch: Watch) -> None:
    watch.run(7, silent={ENGINES[0]})
    assert watch.open == {ENGINES[0]: "absent"}


def test_a_pool_of_which_no_page_is_read_is_one_finding_with_the_reason(watch: Watch) -> None:
    at_s = 40.5
    events = [scrape(e, at_s, "timeout") for e in (*NODES, *ENGINES)]
    for number in range(12):
        watch.second(unread={*NODES, *ENGINES}, events=events if number == 0 else ())
    assert watch.open == {POOL: "pool_quiet"}
    (finding,) = {f.id: f for f in watch.findings}.values()
    assert finding.detail == "none of its 8 pages is read; 8 of them: timeout"


def test_a_pool_of_which_one_page_is_read_is_not_to_blame(watch: Watch) -> None:
    watch.run(12, unread={*NODES, *ENGINES} - {NODES[3]})
    assert POOL not in watch.open
    assert {e for e, reason in watch.open.items() if reason == "absent"} >= {*NODES[:3]}


def test_all_pages_of_one_node_are_that_nodes_own_matter(watch: Watch) -> None:
    watch.run(12, unread={NODES[0], ENGINES[0]})
    assert watch.open == {NODES[0]: "absent"}


def test_a_pool_of_one_node_is_that_nodes_own_matter_too() -> None:
    solo = entity_id("c", EntityKind.POOL, "solo")
    members = [
        relation(entity, solo, RelationKind.MEMBER_OF, at_s=-1.0)
        for entity in (NODES[0], ENGINES[0])
    ]
    watch = Watch(topology=[*scraped(), *members])
    watch.run(40)
    watch.run(12, unread={NODES[0], ENGINES[0]})
    assert watch.open == {NODES[0]: "absent"}


def test_the_gpus_of_a_node_that_fall_silent_together_are_the_exporters_matter(
    watch: Watch,
) -> None:
    watch.run(12, silent={*GPUS[:2]})
    assert watch.open == {NODES[0]: "exporter_down"}
    (finding,) = {f.id: f for f in watch.findings}.values()
    assert finding.detail == "none of its 2 GPUs is heard"


def beating(watch: Watch, seconds: int, *collectors: str) -> None:
    """Seconds in which these collectors beat every ten."""
    names = [entity_id("c", EntityKind.COLLECTOR, name) for name in collectors]
    for _ in range(seconds):
        at = watch.play.tick + 1
        events = [beat(name, at + 0.5) for name in names] if at % 10 == 0 else []
        watch.second(events=events)


def test_a_collector_that_only_beats_is_missed_when_it_stops(watch: Watch) -> None:
    beating(watch, 41, "kubernetes", "kmsg/node-1")
    beating(watch, 29, "kmsg/node-1")
    assert watch.open == {}
    beating(watch, 3, "kmsg/node-1")
    gone = entity_id("c", EntityKind.COLLECTOR, "kubernetes")
    assert watch.open == {gone: "collector_quiet"}
    beating(watch, 11, "kubernetes", "kmsg/node-1")
    assert watch.open == {}


def test_when_all_collectors_stop_the_cluster_is_named_and_nobody_else(watch: Watch) -> None:
    beating(watch, 41, "kubernetes", "prometheus")
    watch.run(40, mute=True)
    assert watch.open == {CLUSTER: "cluster_quiet"}
    assert {f.entity for f in watch.findings} == {CLUSTER}


def test_collectors_that_stop_while_others_are_heard_are_each_their_own(watch: Watch) -> None:
    beating(watch, 41, "kubernetes", "otlp")
    watch.run(34)
    both = {entity_id("c", EntityKind.COLLECTOR, name) for name in ("kubernetes", "otlp")}
    assert watch.open == dict.fromkeys(both, "collector_quiet")


def test_a_node_that_dies_takes_its_agent_with_it() -> None:
    watch = Watch(topology=scraped(agents=True))
    for _ in range(60):
        at = watch.play.tick + 1
        beats = [beat(agent(n), at + 0.5, node=n.rsplit("/", 1)[1]) for n in NODES]
        watch.second(events=beats if at % 10 == 0 else ())
    for _ in range(60):
        at = watch.play.tick + 1
        beats = [beat(agent(n), at + 0.5, node=n.rsplit("/", 1)[1]) for n in NODES[1:]]
        watch.second(
            silent={NODES[0], ENGINES[0], *GPUS[:2]},
            events=beats if at % 10 == 0 else (),
        )
    assert {(f.entity, f.reason) for f in watch.findings} == {(NODES[0], "absent")}


def test_a_collector_whose_subjects_have_left_is_not_missed() -> None:
    watch = Watch(topology=scraped(agents=True))
    own = agent(NODES[0])
    for _ in range(60):
        at = watch.play.tick + 1
        watch.second(events=[beat(own, at + 0.5)] if at % 10 == 0 else ())
    left = (NODES[0], ENGINES[0], *GPUS[:2])
    gone = [TopologyChange(60.0, TopologyOp.ENTITY_GONE, entity) for entity in left]
    watch.second(silent=left, topology=gone)
    watch.run(60, silent=left)
    assert watch.findings == []
    assert not {own, *left} & watch.entries.keys()


@pytest.mark.parametrize(
    ("outcome", "error", "said"),
    [
        ("refused", "", "connection refused"),
        ("timeout", "", "timeout"),
        ("http_503", "", "HTTP 503"),
        ("unreadable", "line 1: no metric", "page unreadable: line 1: no metric"),
        ("tls", "", "bad TLS"),
        ("empty", "", "page empty"),
        ("something_new", "", "something_new"),
    ],
)
def test_a_page_that_is_not_read_says_what_became_of_the_last_scrape(
    watch: Watch, outcome: str, error: str, said: str
) -> None:
    event = scrape(ENGINES[0], 40.5, outcome, error=error)
    watch.second(unread={ENGINES[0]}, events=[event])
    watch.run(5, unread={ENGINES[0]})
    (finding,) = {f.id: f for f in watch.findings}.values()

    assert (finding.entity, finding.reason, finding.detail) == (ENGINES[0], "absent", said)
    assert watch.entries[ENGINES[0]].outcome == said


def test_an_idle_engine_that_nobody_reads_is_not_called_hung() -> None:
    """Its silence, with its memory held and its GPU idle, would say so; and it is the scraper's."""
    observes = [
        relation(SCRAPER, entity, RelationKind.OBSERVES, at_s=-1.0) for entity in (NODE, ENGINE)
    ]
    life = Life()
    said: dict[bool, set[str]] = {}
    for watched in (False, True):
        play = Play(topology=[*fleet(), *(observes if watched else ())])
        idle = {"gpu_sm_active": 0.0, "gpu_utilization": 0.0, "gpu_power": 120.0}
        for at in range(60):
            rows = life.rows(**(idle if at >= 40 else {}))
            rows |= {(NODE, "node.scrape_up"): 1.0, (ENGINE, "engine.scrape_up"): 1.0}
            gone = {NODE, ENGINE} if at >= 45 else set()
            play.feed({key: value for key, value in rows.items() if key[0] not in gone})
        said[watched] = {f.reason for f in opened(play.findings) if f.entity in (ENGINE, SCRAPER)}
    assert "hung" in said[False]
    assert said[True] == {"collector_quiet"}


def test_a_restart_in_the_middle_of_a_silence_changes_nothing() -> None:
    whole, parts = Watch(), Watch()
    for at in range(52):
        for watch in (whole, parts):
            watch.second(mute=32 <= at < 44)
        _, state = unpack(pack(None, parts.play.stage.snapshot()))
        fresh = stage()
        fresh.restore(state)
        parts.play.stage = fresh
    assert parts.findings == whole.findings
    assert parts.told == whole.told
    assert {f.entity for f in whole.findings} == {SCRAPER}
