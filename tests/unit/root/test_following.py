"""Following the fleet: what was handed out stays as it was, a step costs what is new, and a loss
is named and got over."""

import logging

import pytest

from fleetmend.clock import ManualClock
from fleetmend.following import FleetFollower
from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.ticks import Mark
from fleetmend.streams.port import Outgoing
from fleetmend.streams.reader import POLL_RECORDS
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.topics import SPECS, Topic
from fleetmend.testing import MemoryDeadLetters
from fleetmend.views.topology import TopologyView
from tests.unit.root.conftest import START_S


def node(number: int) -> EntityId:
    return entity_id("lab", EntityKind.NODE, f"node-{number}")


def stated(*numbers: int, at_s: float = START_S) -> list[Outgoing]:
    return [
        Outgoing(Topic.TOPOLOGY, "lab", TopologyChange(at_s, TopologyOp.ENTITY, node(n)))
        for n in numbers
    ]


def follower(log: SqliteLog, clock: ManualClock) -> FleetFollower:
    return FleetFollower(log, dead_letters=MemoryDeadLetters(), clock=clock)


def test_a_view_that_was_handed_out_never_changes(log: SqliteLog, clock: ManualClock) -> None:
    following = follower(log, clock)
    log.append(stated(1))
    following.step()
    before = following.view
    gone = TopologyChange(START_S + 1, TopologyOp.ENTITY_GONE, node(1))
    near = TopologyChange(START_S, TopologyOp.RELATION, node(2), node(1), RelationKind.LINKED_TO)
    log.append([*stated(2), *(Outgoing(Topic.TOPOLOGY, "lab", c) for c in (near, gone))])
    following.step()

    assert list(before.of_kind(EntityKind.NODE)) == [node(1)]
    assert list(before.relations()) == []
    assert list(following.view.of_kind(EntityKind.NODE)) == [node(2)]
    assert following.view is following.view, "nothing new, nothing copied"


def test_a_step_costs_what_is_new_however_large_the_fleet_is(
    log: SqliteLog, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = []
    copy = TopologyView.copy

    def counted(view: TopologyView) -> TopologyView:
        copies.append(view)
        return copy(view)

    monkeypatch.setattr(TopologyView, "copy", counted)
    following = follower(log, clock)
    log.append(stated(*range(5 * POLL_RECORDS)))
    while following.step():
        assert following.resolve(node(0)) == node(0), "names are known at once"

    assert not copies
    assert len(following.view.attributes) == 5 * POLL_RECORDS
    assert len(copies) == 1


def test_marks_without_any_change_are_progress_too(log: SqliteLog, clock: ManualClock) -> None:
    """A month of marks is read at full speed, not one poll for each pause."""
    log.append([Outgoing(Topic.TOPOLOGY, "c", Mark("c", START_S), 0) for _ in range(3)])
    following = follower(log, clock)

    assert (following.step(), following.step()) == (3, 0)


def test_lost_offsets_are_named_counted_and_got_over(
    log: SqliteLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    following = follower(log, clock)
    log.append(stated(1))
    following.step()
    log.append(stated(2))
    clock.sleep(SPECS[Topic.TOPOLOGY].retention_s + 61)
    log.append(stated(3, at_s=clock.now_s()))
    with caplog.at_level(logging.WARNING):
        assert following.step(), "there is more to do at once"
    following.step()

    assert following.losses == 1
    assert [(r.message, r.__dict__["where"]) for r in caplog.records] == [
        ("offsets of the topology lost", "topology/0")
    ]
    assert set(following.view.attributes) == {node(1), node(3)}, "node-2 is stated again daily"


def test_what_was_caught_up_once_stays_so_while_more_comes(
    log: SqliteLog, clock: ManualClock
) -> None:
    following = follower(log, clock)
    log.append(stated(*range(POLL_RECORDS)))
    following.step()
    assert not following.was_caught_up, "there may be more"
    following.step()
    assert following.was_caught_up
    log.append(stated(*range(POLL_RECORDS)))
    following.step()
    assert not following.caught_up
    assert following.was_caught_up
