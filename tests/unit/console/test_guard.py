"""What no request gets past."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fleetmend.clock import ManualClock
from fleetmend.settings.console import ConsoleSettings
from tests.unit.console.builder import NOW_S, store_at
from tests.unit.console.client import ORIGIN, Bench, bench

HALT = {"reason": "x"}


@pytest.fixture
def demo(tmp_path: Path, empty_file: Path) -> Iterator[Bench]:
    """Everybody may decide: what is refused here is refused by the guard."""
    shutil.copy(empty_file, tmp_path)
    clock = ManualClock(NOW_S)
    store = store_at(tmp_path, clock)
    settings = ConsoleSettings(auth="local-demo", body_bytes_max=1024)
    yield bench(tmp_path, settings=settings, store=store, clock=clock)
    store.close()


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_other_sites_change_nothing(demo: Bench, site: str) -> None:
    answer = demo.client.post("/halt", data=HALT, headers={"sec-fetch-site": site})
    assert (answer.status_code, answer.json()["code"]) == (403, "cross_site")
    assert not demo.decisions.halt_state().halted


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "http://127.0.0.1:9999", "http://127.0.0.1.evil"]
)
def test_another_origin_changes_nothing(demo: Bench, origin: str) -> None:
    answer = demo.client.post("/halt", data=HALT, headers={"origin": origin})
    assert answer.status_code == 403
    assert not demo.decisions.halt_state().halted


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin", "origin": ORIGIN},
        {"sec-fetch-site": "none"},
    ],
)
def test_our_own_pages_and_programs_may(demo: Bench, headers: dict[str, str]) -> None:
    assert demo.client.post("/halt", data=HALT, headers=headers).status_code == 303


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "", "evil:80"])
def test_a_foreign_name_for_this_machine_gains_nothing(demo: Bench, host: str) -> None:
    answer = demo.client.get("/incidents", headers={"host": host})
    assert (answer.status_code, answer.json()["code"]) == (421, "wrong_host")


@pytest.mark.parametrize("host", ["localhost:8460", "127.0.0.1", "[::1]:8460", "LOCALHOST"])
def test_our_own_names_are_answered(demo: Bench, host: str) -> None:
    assert demo.client.get("/healthz", headers={"host": host}).status_code == 200


def test_a_body_that_says_it_is_too_large_is_refused(demo: Bench) -> None:
    assert demo.client.post("/halt", data={"reason": "x" * 2000}).status_code == 413


def test_a_body_that_does_not_say_it_is_refused_while_it_comes(demo: Bench) -> None:
    def endless() -> Iterator[bytes]:
        yield b"reason="
        for _ in range(100):
            yield b"x" * 100

    answer = demo.client.post(
        "/halt",
        content=endless(),
        headers={"content-type": "application/x-www-form-urlencoded"},
    )
    assert answer.status_code == 413
    assert not demo.decisions.halt_state().halted


def test_every_answer_carries_the_policy(demo: Bench) -> None:
    for path in ("/incidents", "/api/v1/incidents", "/nope", "/healthz"):
        headers = demo.client.get(path).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["cache-control"] == "no-store"
