"""Every way in which a request to an engine can end has a name, and ends in time."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from collectors.probe.request import Answer, Ask, Asker, open_client
from fleetmend.clock import SystemClock
from fleetmend.settings.probe import ReplicaSettings
from tests.unit.collectors.engine_api import (
    EngineApi,
    Handler,
    answers,
    closes,
    dies_half_way,
    hangs,
    says,
    trickles_body,
    trickles_head,
)

CANARY = Ask("Hi", 1)
EMPTY = b'{"choices": [{"text": "", "logprobs": null}], "usage": {"completion_tokens": 0}}'
SILENT = b'{"choices": [{"text": ""}], "usage": {"completion_tokens": 1}}'


@pytest.fixture
def api() -> Iterator[EngineApi]:
    """A healthy engine, until told otherwise."""
    server = EngineApi(answers)
    yield server
    server.close()


def ask(api: EngineApi, what: Ask = CANARY, **replica: object) -> Answer:
    """One request, as the collector makes it."""
    fields = {"url": api.url, "engine": "e", "timeout_s": 10, **replica}
    asker = Asker(ReplicaSettings.model_validate(fields), SystemClock(), body_bytes_max=4096)

    async def one() -> Answer:
        async with open_client() as client:
            return await asker.ask(client, what)

    return asyncio.run(one())


def test_a_healthy_engine_gives_a_token_with_its_log_probability(api: EngineApi) -> None:
    answer = ask(api)
    assert (answer.word, answer.status, answer.ok) == ("answered", 200, True)
    assert (answer.tokens, answer.logprobs) == ((" t0",), (-0.5,))
    assert 0 < answer.duration_s < 10
    assert api.calls[0].body == {
        "model": "m",
        "prompt": "Hi",
        "max_tokens": 1,
        "temperature": 0,
        "logprobs": 1,
    }


@pytest.mark.parametrize(
    ("handler", "word", "ok"),
    [
        (hangs, "timeout", False),
        (trickles_head, "timeout", False),
        (trickles_body, "timeout", False),
        (closes, "unreachable", False),
        (dies_half_way, "unreachable", False),
        (says("503 Service Unavailable"), "http_503", False),
        (says("500 Internal Server Error", b'{"error": {}}'), "http_500", False),
        (says("404 Not Found"), "http_404", None),
        (says("401 Unauthorized"), "http_401", None),
        (says("429 Too Many Requests"), "http_429", None),
        (says("302 Found", b"", "Location: http://127.0.0.1:1/"), "redirect", None),
        (says("200 OK", b"<html>"), "unreadable", False),
        (says("200 OK", b"[" * 3000), "unreadable", False),
        (says("200 OK", b'{"error": {"code": 500}}'), "unreadable", False),
        (says("200 OK", b'{"choices": []}'), "no_token", False),
        (says("200 OK", EMPTY), "no_token", False),
        (says("200 OK", SILENT), "answered", True),
        (says("200 OK", b" " * 5000), "oversize", False),
        (says("418 \xc3\xa9"), "http_418", None),
    ],
)
def test_every_end_has_a_name_and_comes_in_time(
    api: EngineApi, handler: Handler, word: str, ok: bool | None
) -> None:
    api.handler = handler
    answer = ask(api, timeout_s=0.3 if word == "timeout" else 10)
    assert (answer.word, answer.ok) == (word, ok)
    assert answer.duration_s < 10


def test_nobody_listens() -> None:
    server = EngineApi(answers)
    server.close()
    assert ask(server).word == "refused"


def test_a_server_without_the_tls_that_is_wanted_is_no_answer(api: EngineApi) -> None:
    """The server speaks no TLS at all and ends the connection."""
    assert ask(api, url=api.url.replace("http:", "https:")).word == "unreachable"


def test_the_bearer_token_is_read_anew_each_time(api: EngineApi, tmp_path: Path) -> None:
    file = tmp_path / "token"
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert ask(api, token_file=str(file)).ok
        assert f"authorization: bearer {token}" in api.calls[-1].headers.lower()


@pytest.mark.parametrize("content", [None, b"", b"two\nlines", b"\xff\xfe"])
def test_without_its_credential_nothing_is_sent(
    api: EngineApi, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    answer = ask(api, token_file=str(file))
    assert (answer.word, answer.ok, api.calls) == ("no_credential", None, [])


def test_the_lowest_priority_is_sent_where_it_is_set(api: EngineApi) -> None:
    ask(api, priority=1000, model="mine")
    assert (api.calls[0].body["priority"], api.calls[0].body["model"]) == (1000, "mine")


def test_a_golden_answer_names_its_build(api: EngineApi) -> None:
    assert ask(api, Ask("One,", 2, golden=True)).build == 'm {"version": "1.0"}'
    assert ask(api).build == "m"
