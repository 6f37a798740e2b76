"""Thumbs of people: counted once, for whom they may be told, and within bounds."""

import json
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from collectors.otlp.rights import Rights
from collectors.otlp.thumbs import VOTES_MAX, Thumbs
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind
from fleetmend.settings.otlp import OtlpSenderSettings
from fleetmend.signals.catalogue import catalogue


def rights(name: str = "chat", speaks_for: str = "feedback", **more: str) -> Rights:
    """A sender."""
    sender = OtlpSenderSettings.model_validate({"name": name, "speaks_for": speaks_for, **more})
    return Rights(sender, "c", lambda _: None)


def body(*votes: dict[str, str]) -> bytes:
    """A request."""
    return json.dumps({"votes": votes}).encode()


def vote(rating: str, model: str = "m", tenant: str = "acme", **more: str) -> dict[str, str]:
    """One thumb."""
    return {"rating": rating, "model": model, "tenant": tenant, **more}


class Told:
    """Thumbs that tell every second, and what they have told so far."""

    def __init__(self, names_max: int = 100) -> None:
        self.thumbs = Thumbs(cluster="c", names_max=names_max)
        self.rows: list[tuple[str, str, float]] = []
        self._now_s = 1000.0

    def totals(self) -> dict[tuple[str, str], float]:
        """The newest total of each."""
        for _ in range(2):  # what is new is told as 0 first
            self._now_s += 1.0
            batch = self.thumbs.batch(self._now_s)
            if batch is not None:
                columns = zip(
                    batch.entity.tolist(), batch.signal.tolist(), batch.value.tolist(), strict=True
                )
                self.rows += [(batch.entities[e], batch.signals[s], v) for e, s, v in columns]
        return {(entity, signal): value for entity, signal, value in self.rows}


def test_votes_are_totals_of_model_and_tenant_and_begin_at_nothing() -> None:
    told = Told()
    assert told.thumbs.take(rights(), body(vote("up"), vote("up"), vote("down"))) == (3, {})
    assert told.totals() == {
        ("c/model/m", "model.feedback_up"): 2.0,
        ("c/model/m", "model.feedback_down"): 1.0,
        ("c/tenant/acme", "tenant.feedback_up"): 2.0,
        ("c/tenant/acme", "tenant.feedback_down"): 1.0,
    }
    assert {value for _, _, value in told.rows[:4]} == {0.0}
    assert {signal for _, signal, _ in told.rows} <= set(catalogue().signals)


def test_all_senders_add_to_one_total() -> None:
    told = Told()
    for name in ("chat-1", "chat-2"):
        told.thumbs.take(rights(name), body(vote("up")))
    assert told.totals()["c/model/m", "model.feedback_up"] == 2.0


def test_nothing_is_told_where_nothing_moved() -> None:
    told = Told()
    assert told.thumbs.batch(1.0) is None
    told.thumbs.take(rights(), body(vote("up")))
    told.totals()
    assert told.thumbs.batch(5000.0) is None


def test_a_vote_with_an_id_counts_once_for_its_sender() -> None:
    told = Told()
    request = body(vote("up", id="answer-1"), vote("down", id="answer-1"))
    assert told.thumbs.take(rights(), request) == (1, {"repeated": 1})
    assert told.thumbs.take(rights(), request) == (0, {"repeated": 2})
    assert told.thumbs.take(rights("other"), request) == (1, {"repeated": 1})
    assert told.totals()["c/model/m", "model.feedback_up"] == 2.0


def test_a_tenants_chat_page_cannot_vote_for_another_tenant() -> None:
    told, own = Told(), rights(tenant="acme")
    assert told.thumbs.take(own, body(vote("down", tenant="rival"))) == (0, {"not_its_own": 1})
    assert told.thumbs.take(own, body(vote("down", tenant=""))) == (1, {})
    assert ("c/tenant/rival", "tenant.feedback_down") not in told.totals()
    assert told.totals()["c/tenant/acme", "tenant.feedback_down"] == 1.0


@pytest.mark.parametrize(
    "more", [{"speaks_for": "engine", "engine": "e"}, {"speaks_for": "node", "node": "n"}]
)
def test_an_engine_or_a_node_does_not_vote(more: dict[str, str]) -> None:
    told = Told()
    assert told.thumbs.take(rights(**more), body(vote("up"))) == (0, {"not_its_own": 1})
    assert told.totals() == {}


def test_votes_name_so_many_models_and_no_more() -> None:
    told = Told(names_max=10)
    votes = [vote("up", model=f"m{n}", tenant="") for n in range(50)]
    assert told.thumbs.take(rights(), body(*votes)) == (10, {"names": 40})
    assert len({entity for entity, _ in told.totals()}) == 10
    assert told.thumbs.take(rights(), body(vote("up", model="m3", tenant=""))) == (1, {})


def test_a_sender_that_makes_names_up_leaves_the_others_theirs() -> None:
    told = Told(names_max=10)
    made_up = [vote("up", model=f"m{n}", tenant="") for n in range(50)]
    told.thumbs.take(rights("noisy"), body(*made_up))
    assert told.thumbs.take(rights(), body(vote("down", model="real", tenant=""))) == (1, {})
    assert told.totals()["c/model/real", "model.feedback_down"] == 1.0


@pytest.mark.parametrize(
    ("sent", "complaint"),
    [
        (b"", "EOF"),
        (b"[]", "object"),
        (b'{"votes": 5}', "votes"),
        (body({"rating": "up"}), "neither model nor tenant"),
        (body(vote("sideways")), "votes.0.rating"),
        (body(vote("up", model="a\nb")), "votes.0.model"),
        (body(vote("up", model="m" * 254)), "votes.0.model"),
        (body(vote("up", weight="1000000")), "votes.0.weight"),
        (body(*[vote("up")] * (VOTES_MAX + 1)), "votes"),
        (b'{"votes":' + b"[" * 100_000, "recursion"),
    ],
)
def test_a_request_that_makes_no_sense_counts_for_nothing(sent: bytes, complaint: str) -> None:
    told = Told()
    with pytest.raises(BadInput, match=complaint):
        told.thumbs.take(rights(), sent)
    assert told.totals() == {}


def test_one_bad_vote_spoils_the_request_and_none_of_it_counts() -> None:
    told = Told()
    with pytest.raises(BadInput):
        told.thumbs.take(rights(), body(vote("up"), vote("sideways")))
    assert told.totals() == {}


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["up", "down"]), st.sampled_from("ab"), st.sampled_from("xyz")
            )
        ),
        max_size=6,
    )
)
def test_totals_are_what_was_voted_however_it_was_sent(
    requests: list[list[tuple[str, str, str]]],
) -> None:
    told, wanted = Told(), Counter[tuple[str, str]]()
    for request in requests:
        votes = [vote(rating, model, tenant) for rating, model, tenant in request]
        told.thumbs.take(rights(), body(*votes))
        told.totals()
        for rating, model, tenant in request:
            wanted[f"c/model/{model}", f"model.feedback_{rating}"] += 1
            wanted[f"c/tenant/{tenant}", f"tenant.feedback_{rating}"] += 1
    assert {key: value for key, value in told.totals().items() if value} == dict(wanted)


def test_only_a_sender_of_feedback_is_bound_to_a_tenant() -> None:
    with pytest.raises(ValidationError, match="tenant belongs to a sender of feedback"):
        rights(speaks_for="cluster", tenant="acme")


def test_what_a_sender_of_feedback_may_speak_of_has_nothing_but_thumbs() -> None:
    """Its rights are by kind of entity: another signal of a model or tenant needs a closer look."""
    kinds = {EntityKind.MODEL, EntityKind.TENANT}
    signals = {name for name, signal in catalogue().signals.items() if signal.entity in kinds}
    assert {name.partition(".")[2] for name in signals} == {"feedback_up", "feedback_down"}
