"""The coverage ledger on the console: the API with filters and pages, the card that says who is not
heard, and that a ledger which nobody keeps is not believed."""

import pytest

from fleetmend.model.coverage import Coverage, Freshness
from tests.unit.console.builder import engine, gpu, node
from tests.unit.console.client import Bench

URL = "/api/v1/coverage"


def test_the_ledger_tells_state_reason_and_how_far_it_has_come(filled: Bench) -> None:
    answer = filled.client.get(URL, params={"entity": engine(1)}).json()
    (item,) = answer["items"]
    assert (item["state"], item["outcome"]) == ("absent", "connection refused")
    assert answer["reached_s"] == filled.clock.now_s() - 4.0
    assert answer["counts"]["gpu"] == {"fresh": 23, "frozen": 1}
    assert answer["next"] == ""


def test_pages_meet_every_entity_once_and_never_the_ledger_itself(filled: Bench) -> None:
    met: list[str] = []
    after = ""
    while True:
        page = filled.client.get(URL, params={"after": after, "limit": 5}).json()
        assert len(page["items"]) <= 5
        met += [item["entity"] for item in page["items"]]
        after = page["next"]
        if not after:
            break
    assert met == sorted(met)
    assert len(met) == len(set(met)) == 26


@pytest.mark.parametrize(
    ("wanted", "count"),
    [
        ({"state": "frozen"}, 1),
        ({"state": "never", "kind": "engine"}, 1),
        ({"kind": "gpu"}, 24),
        ({"pool": "chat-h200"}, 1),
        ({"entity": node(2)}, 8),
        ({"entity": gpu(1, 3).rsplit("/", 1)[1]}, 1),
        ({"kind": "node"}, 0),
    ],
)
def test_filters_narrow(filled: Bench, wanted: dict[str, str], count: int) -> None:
    assert len(filled.client.get(URL, params=wanted).json()["items"]) == count


@pytest.mark.parametrize("wanted", [{"state": "asleep"}, {"kind": "toaster"}, {"limit": "x"}])
def test_a_word_that_is_none_is_refused(filled: Bench, wanted: dict[str, str]) -> None:
    answer = filled.client.get(URL, params=wanted)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"


def test_the_fleet_page_shows_who_is_not_heard_and_why(filled: Bench) -> None:
    page = filled.client.get("/fleet").text
    card = page.partition('id="heard"')[2].partition("</section>")[0]
    assert "3 of 26" in card
    for said in ("Frozen", "Absent", "Never heard", "connection refused", "stand still"):
        assert said in card
    assert "Nobody has kept the ledger" not in card


def test_a_ledger_that_nobody_keeps_is_not_believed(fresh: Bench) -> None:
    fresh.clock.sleep(90.0)
    assert "Nobody has kept the ledger for" in fresh.client.get("/fleet").text


def test_where_no_ledger_was_ever_kept_there_is_no_card(empty: Bench) -> None:
    assert 'id="heard"' not in empty.client.get("/fleet").text
    assert empty.client.get(URL).json() == {
        "items": [],
        "next": "",
        "reached_s": None,
        "counts": {},
    }


def test_hostile_text_in_an_outcome_is_shown_as_text(fresh: Bench) -> None:
    said = "page unreadable: <script>alert(1)</script>"
    with fresh.store.transaction() as tx:
        now_s = fresh.clock.now_s()
        tx.coverage.put([Coverage(engine(9), now_s, Freshness.ABSENT, 0.0, outcome=said)])
    page = fresh.client.get("/fleet").text
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
