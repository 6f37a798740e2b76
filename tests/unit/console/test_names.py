"""Names in place of UUIDs, and what is left when nobody knows a name."""

from hypothesis import given
from hypothesis import strategies as st

from console.names import NameBook
from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityKind, TopologyChange, TopologyOp, entity_id, key_of
from fleetmend.views.names import Names, short_uuid
from tests.unit.console.builder import MADE, NOW_S, gpu
from tests.unit.console.client import Bench
from tests.unit.console.fakes import FakeFleet

UID = "dd6bf9e9-4170-4ebe-bee9-a0da375b16a6"


def test_a_gpu_is_called_by_its_node_and_slot() -> None:
    book = NameBook(FakeFleet((("chat", 2),)), ManualClock())
    assert book.in_text(f"GPU {key_of(gpu(2, 5))} is hot") == "GPU node-2/gpu:5 is hot"


def test_an_engine_is_called_by_its_pod_as_soon_as_that_is_known() -> None:
    fleet = FakeFleet((("chat", 1),))
    book = NameBook(fleet, ManualClock())
    assert book.in_text(f"engine {UID} died") == "engine dd6bf9e9 died"
    engine = entity_id("prod-1", EntityKind.ENGINE, UID)
    fleet.topology().apply(
        TopologyChange(NOW_S, TopologyOp.ENTITY, engine, attributes={"pod": "chat-0"})
    )
    assert book.in_text(f"engine {UID} died") == "engine chat-0 died"


def test_without_a_fleet_a_uuid_keeps_its_first_block() -> None:
    book = NameBook(None, ManualClock())
    assert book.in_text(key_of(gpu(7, 1))) == "GPU-0717c41e"
    assert short_uuid("node-7") == "node-7"


@given(st.text(max_size=80))
def test_text_without_a_uuid_is_left_alone(text: str) -> None:
    assert NameBook(None, ManualClock()).in_text(text) == text


def test_no_page_shows_a_whole_uuid_but_in_tooltips(filled: Bench) -> None:
    key = key_of(gpu(7, 1))
    for path in ("/incidents", f"/incidents/{MADE.hot}", "/actions"):
        html = filled.client.get(path).text
        assert f">{key}" not in html
        assert "node-7/gpu:1" in html or path == "/actions"


def test_programs_get_whole_ids(filled: Bench) -> None:
    assert key_of(gpu(7, 1)) in filled.client.get(f"/api/v1/incidents/{MADE.hot}").text


def test_an_engine_keeps_its_name_when_its_pod_is_gone() -> None:
    fleet = FakeFleet((("chat", 1),))
    book, topology = NameBook(fleet, ManualClock()), fleet.topology()
    pod = entity_id("prod-1", EntityKind.ENGINE, UID)
    topology.apply(TopologyChange(NOW_S, TopologyOp.ENTITY, pod, attributes={"name": "chat-7"}))
    assert book.in_text(f"engine {UID}") == "engine chat-7"
    topology.apply(TopologyChange(NOW_S + 1, TopologyOp.ENTITY_GONE, pod))
    assert book.in_text(f"engine {UID}") == "engine chat-7"


def test_a_single_line_names_the_pool_too() -> None:
    names = Names(FakeFleet((("chat", 2),)).topology, ManualClock())
    assert names.place_of(gpu(2, 5)) == "node-2/gpu:5, pool chat"
    assert names.place_of(entity_id("prod-1", EntityKind.POOL, "chat")) == "chat"
    assert names.place_of(entity_id("prod-1", EntityKind.GPU, f"GPU-{UID}")) == "GPU-dd6bf9e9"
