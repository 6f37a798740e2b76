"""Who may look, who may do what, and what a stranger cannot take away from the others."""

import hashlib
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from pydantic import ValidationError

from console.limits import Slots
from fleetmend.clock import ManualClock
from fleetmend.settings.console import ConsoleRole, ConsoleSettings, PersonSettings
from tests.unit.console.builder import MADE, NOW_S, store_at
from tests.unit.console.client import TOKEN, Bench, bench
from tests.unit.console.fakes import FakeFaults

PATHS = (
    "/incidents",
    f"/incidents/{MADE.hot}",
    f"/incidents/{MADE.hot}/live",
    "/fleet",
    "/actions",
    "/audit",
    "/audit.jsonl",
    "/api/v1/incidents",
    f"/api/v1/incidents/{MADE.hot}/series",
    "/api/v1/fleet",
    "/api/v1/audit",
    "/api/v1/audit/chain",
    "/api/v1/coverage",
    "/api/v1/stream",
    "/api/v1/halt",
    f"/api/v1/plans/{MADE.plan}",
)
HALT = {"reason": "x"}


def token(name: str) -> str:
    return f"{name}-token-of-their-own"


def person(name: str, role: ConsoleRole) -> PersonSettings:
    digest = hashlib.sha256(token(name).encode()).hexdigest()
    return PersonSettings(name=name, role=role, token_sha256=digest)


PEOPLE = (
    person("vera", ConsoleRole.VIEWER),
    person("olaf", ConsoleRole.OPERATOR),
    person("ada", ConsoleRole.ADMIN),
)


def bearer(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(name)}"}


@pytest.fixture
def house(tmp_path: Path, filled_file: Path) -> Iterator[Bench]:
    """A console as it comes, with three people and the first token."""
    shutil.copy(filled_file, tmp_path)
    clock = ManualClock(NOW_S)
    store = store_at(tmp_path, clock)
    settings = ConsoleSettings(
        token_file=str(tmp_path / "operator.token"),
        people=PEOPLE,
        writes_per_min=5,
        logins_per_min=3,
    )
    yield bench(tmp_path, settings=settings, store=store, clock=clock, faults=FakeFaults())
    store.close()


@pytest.mark.parametrize("path", PATHS)
def test_a_console_as_it_comes_shows_nothing_to_strangers(house: Bench, path: str) -> None:
    answer = house.client.get(path)

    assert answer.status_code == (401 if path.startswith("/api/") else 303)
    assert MADE.hot not in answer.text


def test_not_even_the_frame_of_the_login_page_tells_strangers_anything(house: Bench) -> None:
    house.decisions.halt("olaf", "secret reason")

    for page in (house.client.get("/login"), house.client.get("/nowhere")):
        assert "secret reason" not in page.text
        assert 'class="badge"' not in page.text
    assert "secret reason" in house.client.get("/incidents", headers=bearer("vera")).text


def test_health_and_metrics_need_no_token(house: Bench) -> None:
    for path in ("/healthz", "/readyz", "/metrics"):
        assert house.client.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "data", "least"),
    [
        (f"/incidents/{MADE.hot}/notes", {"text": "x"}, ConsoleRole.OPERATOR),
        (
            f"/plans/{MADE.plan}/approve",
            {"version": "1", "incident": MADE.hot},
            ConsoleRole.OPERATOR,
        ),
        (f"/plans/{MADE.plan}/deny", {"version": "1", "incident": MADE.hot}, ConsoleRole.OPERATOR),
        ("/halt", HALT, ConsoleRole.OPERATOR),
        ("/resume", {}, ConsoleRole.ADMIN),
        ("/faults", {"name": "engine_hang"}, ConsoleRole.ADMIN),
    ],
)
@pytest.mark.parametrize("who", PEOPLE, ids=lambda p: str(p.role))
def test_each_role_may_what_it_says(
    house: Bench, who: PersonSettings, path: str, data: dict[str, str], least: ConsoleRole
) -> None:
    ranks = list(ConsoleRole)
    answer = house.client.post(path, data=data, headers=bearer(who.name))

    assert answer.status_code == (303 if ranks.index(who.role) >= ranks.index(least) else 403)


def test_a_person_is_named_by_the_settings_whatever_they_say(house: Bench) -> None:
    data = {"name": "ada", "token": token("olaf")}
    assert house.client.post("/login", data=data).status_code == 303
    house.client.post(f"/incidents/{MADE.hot}/notes", data={"text": "x"})

    with house.store.reading() as tx:
        assert tx.notes.for_incident(MADE.hot)[-1].by == "olaf"


def test_nobody_takes_anothers_name_with_the_first_token(house: Bench) -> None:
    house.login("olaf")
    house.client.post(f"/incidents/{MADE.hot}/notes", data={"text": "x"})

    with house.store.reading() as tx:
        assert tx.notes.for_incident(MADE.hot)[-1].by == "olaf (by the first token)"


def test_a_login_ends_when_the_people_change(house: Bench, tmp_path: Path) -> None:
    assert house.client.post("/login", data={"token": token("olaf")}).status_code == 303
    others = ConsoleSettings(token_file=str(tmp_path / "operator.token"), people=PEOPLE[2:])
    again = bench(tmp_path, settings=others, store=house.store, clock=house.clock)
    again.client.cookies = house.client.cookies

    assert house.client.get("/incidents").status_code == 200
    assert again.client.get("/incidents").headers["location"].startswith("/login")


def test_without_a_token_file_only_people_come_in(house: Bench, tmp_path: Path) -> None:
    settings = ConsoleSettings(token_file="", people=PEOPLE)
    made = bench(tmp_path, settings=settings, store=house.store, clock=house.clock)

    assert made.client.post("/login", data={"name": "x", "token": TOKEN}).status_code == 401
    assert made.client.post("/login", data={"token": token("vera")}).status_code == 303


@pytest.mark.parametrize(
    "people",
    [
        (PEOPLE[0], person("vera", ConsoleRole.ADMIN)),
        (PEOPLE[2], PEOPLE[2].model_copy(update={"name": "eva"})),
        PEOPLE[:2],
    ],
    ids=["name twice", "token twice", "no admin and no file"],
)
def test_people_that_cannot_serve_are_refused(people: tuple[PersonSettings, ...]) -> None:
    with pytest.raises(ValidationError, match=r"console\.people"):
        ConsoleSettings(token_file="", people=people)


def test_no_stranger_locks_out_who_has_a_token(house: Bench) -> None:
    """All of them come from one address, as behind a proxy."""
    wrong = {"authorization": "Bearer guess"}
    tries = [house.client.post("/halt", data=HALT, headers=wrong).status_code for _ in range(9)]
    logins = [
        house.client.post("/login", data={"name": "Eve", "token": "guess"}).status_code
        for _ in range(3)
    ]

    assert tries == [401] * 3 + [429] * 6
    assert logins == [429] * 3
    assert house.client.post("/login", data={"token": token("olaf")}).status_code == 303
    assert house.client.post("/halt", data=HALT, headers=bearer("olaf")).status_code == 303


def test_changes_are_bounded_for_each_person_but_a_halt_never_waits(house: Bench) -> None:
    def note(name: str) -> int:
        path = f"/incidents/{MADE.hot}/notes"
        answer = house.client.post(path, data={"text": "x"}, headers=bearer(name))
        return int(answer.status_code)

    assert [note("olaf") for _ in range(6)] == [303] * 5 + [429]
    assert note("ada") == 303
    halts = [
        house.client.post("/halt", data=HALT, headers=bearer("olaf")).status_code for _ in range(9)
    ]
    assert halts == [303] * 9
    assert house.client.post("/api/v1/halt", json=HALT, headers=bearer("olaf")).status_code == 200
    house.clock.sleep(61)
    assert note("olaf") == 303


def test_one_reader_cannot_hold_all_live_streams() -> None:
    slots = Slots(most=3, each=2)
    with slots.held("vera"), slots.held("vera"):
        assert not slots.free("vera")
        assert slots.free("olaf")
        with slots.held("olaf"):
            assert not slots.free("ada")
        assert slots.free("ada")
    assert slots.free("vera")


def test_a_reader_with_all_their_streams_open_gets_no_more(house: Bench) -> None:
    streams = house.client.app.state.console.streams  # type: ignore[attr-defined]
    with ExitStack() as tabs:
        for _ in range(16):
            tabs.enter_context(streams.held("name vera"))
        answer = house.client.get("/api/v1/stream", headers=bearer("vera"))

    assert (answer.status_code, answer.json()["code"]) == (503, "too_many_streams")
