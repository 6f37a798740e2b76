"""Whatever breaks between the cluster and the collector: nothing is lost, nothing comes twice.

The histories are made by hypothesis: objects come, change and go while watches are cut, begun too
early and forgotten by the server, and lists break off.
"""

import contextlib
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.kube_cursor import Cursor
from collectors.kube_feeds import Feed
from collectors.kube_watch import KubernetesCollector
from fleetmend.clock import ManualClock
from fleetmend.errors import PortError
from fleetmend.model.entities import EntityKind, TopologyOp, kind_of
from fleetmend.model.events import Event, EventType
from fleetmend.views.topology import TopologyView
from tests.unit.collectors.fakes import ListSink
from tests.unit.collectors.kube_server import HistoryServer, Json
from tests.unit.collectors.kube_world import (
    DEPLOYMENTS,
    NODES,
    SETTINGS,
    RawFold,
    node,
    view_of,
    workload,
)

NAMES = ("a", "b", "c")


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that happens to an object."""

    name: str
    driver: int
    """Also its image and its replicas, where it is a workload; 0: it is deleted."""
    out: bool = False


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that happens on the way, after which the reader takes a turn."""

    compact: bool = False
    repeat: int = 0
    cut_after: int | None = None
    cut_list: bool = False


DEEDS = st.builds(Deed, st.sampled_from(NAMES), st.integers(0, 4), st.booleans())
CHANGES = st.builds(Deed, st.sampled_from(NAMES), st.integers(1, 4), st.booleans())
TROUBLES = st.builds(
    Trouble,
    repeat=st.integers(0, 3),
    cut_after=st.none() | st.integers(0, 3),
)
AMNESIAS = st.builds(
    Trouble,
    compact=st.booleans(),
    repeat=st.integers(0, 3),
    cut_after=st.none() | st.integers(0, 3),
    cut_list=st.booleans(),
)


def as_node(deed: Deed) -> Json:
    """The node after the deed."""
    labels = {"nvidia.com/cuda.driver-version.full": f"570.{deed.driver}"}
    return (
        node(deed.name, labels=labels, unschedulable=True)
        if deed.out
        else node(deed.name, labels=labels)
    )


def as_workload(generations: Callable[[], int]) -> Callable[[Deed], Json]:
    """The Deployment after the deed."""
    return lambda deed: workload(
        deed.name,
        generation=generations(),
        image=f"vllm:{deed.driver}",
        replicas=2 if deed.out else 1,
    )


class Play:
    """A server, and a collector that follows one of its feeds."""

    def __init__(self, feed: Feed, made: Callable[[Deed], Json]) -> None:
        self.server, self.sink, self.clock = HistoryServer(), ListSink(), ManualClock(1000.0)
        self._made = made
        self._collector = KubernetesCollector(
            SETTINGS, cluster="c", sink=self.sink, clock=self.clock, api=self.server
        )
        self.reader = next(one for one in self._collector.readers if one.feed == feed)

    def do(self, deed: Deed) -> None:
        """One deed."""
        if deed.driver:
            self.server.put(deed.name, self._made(deed))
        else:
            self.server.delete(deed.name)

    def turn(self, trouble: Trouble | None = None) -> None:
        """One turn of the reader, in trouble or not; then everything is told."""
        if trouble is not None:
            self.server.repeat, self.server.cut_after = trouble.repeat, trouble.cut_after
            self.server.cut_list = trouble.cut_list
            if trouble.compact:
                self.server.compact()
        with contextlib.suppress(PortError):
            self.reader.turn()
        self.clock.sleep(1.0)
        self._collector.poll()

    def settle(self) -> None:
        """Turns without trouble, until a list and a watch have passed."""
        self.server.repeat, self.server.cut_after, self.server.cut_list = 0, None, False
        for _ in range(3):
            self.turn()

    @property
    def changes(self) -> list[Event]:
        """What was told of changes."""
        return [event for event in self.sink.events if event.type is EventType.CHANGE]

    def view(self) -> TopologyView:
        """The topology that was told."""
        view = TopologyView()
        for change in self.sink.changes:
            view.apply(change)
        return view


def nodes_of(view: TopologyView) -> dict[str, tuple[object, ...]]:
    """Each node with all that is said of it; pools and racks outlive their nodes."""
    return {
        entity: (attributes, [r for r in view.relations() if r[0] == entity])
        for entity, attributes in view.attributes.items()
        if kind_of(entity) is EntityKind.NODE
    }


def play_nodes() -> Play:
    """One of nodes."""
    return Play(NODES, as_node)


STEPS = st.lists(st.tuples(st.lists(DEEDS, max_size=4), AMNESIAS), max_size=8)


@settings(max_examples=60, deadline=None)
@given(STEPS)
def test_the_topology_told_is_that_of_a_fresh_list(
    steps: list[tuple[list[Deed], Trouble]],
) -> None:
    """Objects that go while nobody hears are gone, also when they come back under their names."""
    play = play_nodes()
    for deeds, trouble in steps:
        for deed in deeds:
            play.do(deed)
        play.turn(trouble)
    play.settle()
    fresh = RawFold().listed(NODES, play.server.objects(), 1.0)
    assert nodes_of(play.view()) == nodes_of(view_of(fresh))
    ids = [event.id for event in play.sink.events]
    assert len(ids) == len(set(ids))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.lists(DEEDS, max_size=4), TROUBLES), max_size=8))
def test_while_the_server_remembers_every_change_is_told_once_and_in_order(
    steps: list[tuple[list[Deed], Trouble]],
) -> None:
    """As one would tell that was never disturbed."""
    play, calm = play_nodes(), play_nodes()
    for one in (play, calm):
        one.turn()
    for deeds, trouble in steps:
        for deed in deeds:
            play.do(deed)
            calm.do(deed)
        play.turn(trouble)
        calm.turn()
    play.settle()
    calm.settle()
    assert [event.id for event in play.changes] == [event.id for event in calm.changes]
    facts = [
        [(c.op, c.entity, c.target, c.attributes) for c in one.sink.changes] for one in (play, calm)
    ]
    assert facts[0] == facts[1]


def chains(events: list[Event], kind: str) -> dict[str, list[tuple[object, object]]]:
    """From and to of every change of a kind, by the object's name."""
    found: dict[str, list[tuple[object, object]]] = defaultdict(list)
    for event in events:
        if event.data["change"] == kind:
            name = str(event.data.get("object", event.subject)).rpartition("/")[2]
            found[name].append((event.data["from"], event.data["to"]))
    return found


CHANGING = st.lists(st.tuples(st.lists(CHANGES, max_size=4), AMNESIAS), max_size=8)


@settings(max_examples=60, deadline=None)
@given(CHANGING)
def test_what_is_told_of_a_node_leads_from_its_first_state_to_its_last(
    steps: list[tuple[list[Deed], Trouble]],
) -> None:
    """Also where the server forgot what was between: one change then says it all."""
    play = play_nodes()
    first = {name: Deed(name, 1) for name in NAMES}
    last = dict(first)
    for deed in first.values():
        play.do(deed)
    play.turn()
    for deeds, trouble in steps:
        for deed in deeds:
            play.do(deed)
            last[deed.name] = deed
        play.turn(trouble)
    play.settle()
    drivers = chains(play.changes, "driver")
    for name in NAMES:
        follows(drivers[name], "570.1", f"570.{last[name].driver}")
    cordons = [(e.subject.rpartition("/")[2], e.data["change"]) for e in play.changes]
    for name in NAMES:
        told = [kind for node, kind in cordons if node == name and kind != "driver"]
        assert told == [("cordon", "uncordon")[i % 2] for i in range(len(told))]
        assert len(told) % 2 == last[name].out


@settings(max_examples=60, deadline=None)
@given(CHANGING)
def test_what_is_told_of_a_workload_leads_from_its_first_state_to_its_last(
    steps: list[tuple[list[Deed], Trouble]],
) -> None:
    numbers = iter(range(1, 10_000))
    play = Play(DEPLOYMENTS, as_workload(lambda: next(numbers)))
    last = {name: Deed(name, 1) for name in NAMES}
    for deed in last.values():
        play.do(deed)
    play.turn()
    for deeds, trouble in steps:
        for deed in deeds:
            play.do(deed)
            last[deed.name] = deed
        play.turn(trouble)
    play.settle()
    images, scales = chains(play.changes, "rollout"), chains(play.changes, "scale")
    for name in NAMES:
        follows(images[name], "vllm:1", f"vllm:{last[name].driver}")
        follows(scales[name], "1", "2" if last[name].out else "1")


def follows(chain: list[tuple[object, object]], first: str, last: str) -> None:
    """Each change begins where the one before ended."""
    at: object = first
    for before, now in chain:
        assert (before, before != now) == (at, True)
        at = now
    assert at == last


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(0, 20))
def test_a_cursor_takes_each_version_once_and_never_goes_back(
    versions: list[int], listed: int
) -> None:
    cursor, taken = Cursor(), []
    cursor.listed(str(listed))
    for version in versions:
        if cursor.is_news(str(version)):
            cursor.marked(str(version))
            taken.append(version)
    assert taken == sorted(set(taken))
    assert all(version > listed for version in taken)
    assert cursor.since == str(max([listed, *taken]))
    assert cursor.repeated == len(versions) - len(taken)


def test_a_cursor_takes_versions_that_are_no_numbers_as_they_come() -> None:
    cursor = Cursor()
    cursor.listed("abc")
    assert cursor.is_news("abb")
    cursor.marked("abb")
    assert cursor.since == "abb"
    cursor.marked("")
    assert cursor.since == "abb"


def test_a_list_of_a_restored_server_counts_though_its_version_is_lower() -> None:
    cursor = Cursor()
    cursor.listed("900")
    cursor.listed("7")
    assert cursor.since == "7"
    assert cursor.is_news("8")


def test_the_play_can_lose_an_object_that_goes_unheard() -> None:
    """The properties above are worth something: without lists a lost deletion would stay."""
    play = play_nodes()
    play.do(Deed("a", 1))
    play.turn()
    play.do(Deed("a", 0))
    play.server.compact()
    assert nodes_of(play.view()) != {}
    play.settle()
    assert nodes_of(play.view()) == {}
    assert [c.op for c in play.sink.changes].count(TopologyOp.ENTITY_GONE) == 1
