"""Who may decide, on what, and what the second one hears."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from console.auth import COOKIE, Operators, ensure_token
from console.present.causes import cause_key
from fleetmend.clock import ManualClock
from fleetmend.errors import SettingsError
from fleetmend.model.audit import AuditVerb
from fleetmend.model.plans import Approval, SessionState
from fleetmend.settings.console import ConsoleSettings
from fleetmend.store import LabelVerdict
from tests.unit.console.builder import MADE, NOW_S
from tests.unit.console.client import TOKEN, Bench, bench

FORM = {"version": "1", "incident": MADE.hot}
APPROVE = f"/plans/{MADE.plan}/approve"
DENY = f"/plans/{MADE.plan}/deny"
API_APPROVE = f"/api/v1/plans/{MADE.plan}/approve"
BEARER = {"authorization": f"Bearer {TOKEN}"}


def decision(made: Bench, version: int = 1) -> Approval | None:
    with made.store.reading() as tx:
        return tx.approvals.get(MADE.plan, version)


def test_a_login_and_a_form_approve_the_plan(fresh: Bench) -> None:
    fresh.login("Ana")
    answer = fresh.client.post(APPROVE, data=FORM)
    assert (answer.status_code, answer.headers["location"]) == (
        303,
        f"/incidents/{MADE.hot}?said=approved#plan",
    )
    made = decision(fresh)
    assert made is not None
    assert (made.granted, made.by, made.channel) == (True, "Ana", "console")
    page = fresh.client.get(f"/incidents/{MADE.hot}?said=approved").text
    assert "Approved by" in page
    assert 'commandfor="dlg-approve"' not in page


def test_the_second_decision_hears_who_was_first(fresh: Bench) -> None:
    fresh.login("Ana")
    fresh.client.post(APPROVE, data=FORM)
    fresh.clock.advance_to(NOW_S + 12)
    fresh.login("Ben")
    answer = fresh.client.post(DENY, data=FORM | {"reason": "not now"})
    assert answer.status_code == 409
    assert "Already approved by Ana 12s ago; your decision was not used." in answer.text
    made = decision(fresh)
    assert made is not None
    assert made.granted


def test_an_undo_gives_back_and_is_audited(fresh: Bench) -> None:
    fresh.login("Ana")
    with fresh.store.reading() as tx:
        session = tx.sessions.for_incident(MADE.hot)[0]
    data = {"incident": MADE.hot, "reason": "the fan is fixed"}
    answer = fresh.client.post(f"/sessions/{session.id}/undo", data=data)
    assert answer.status_code == 303
    with fresh.store.reading() as tx:
        held = tx.sessions.get(session.id)
        last = tx.audit.about(MADE.hot)[-1]
    assert held is not None
    assert held.state is SessionState.GIVING_BACK
    assert (last.actor, last.detail["why"]) == ("Ana", "the fan is fixed")


def test_what_is_over_cannot_be_undone(fresh: Bench) -> None:
    answer = fresh.client.post("/api/v1/sessions/s-none/undo", headers=BEARER, json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "refused")


def test_a_plan_that_changed_meanwhile_is_not_decided_on(fresh: Bench) -> None:
    fresh.login()
    answer = fresh.client.post(APPROVE, data=FORM | {"version": "7"})
    assert answer.status_code == 412
    assert "the plan is at version 1" in answer.text
    assert decision(fresh, 7) is None


def test_a_denial_keeps_its_reason(fresh: Bench) -> None:
    fresh.login()
    fresh.client.post(DENY, data=FORM | {"reason": "maintenance first"})
    made = decision(fresh)
    assert made is not None
    assert (made.granted, made.reason) == (False, "maintenance first")


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (APPROVE, FORM),
        (DENY, FORM),
        ("/halt", {"reason": "x"}),
        ("/resume", {}),
        ("/faults", {"name": "engine_hang"}),
        (f"/incidents/{MADE.hot}/notes", {"text": "x"}),
        ("/sessions/s-1/undo", {"incident": MADE.hot}),
        (
            f"/incidents/{MADE.hot}/labels",
            {"key": "x", "verdict": "confirm"},
        ),
    ],
)
def test_nobody_decides_without_a_login(filled: Bench, path: str, data: dict[str, str]) -> None:
    assert filled.client.post(path, data=data).status_code == 401
    assert decision(filled) is None
    assert not filled.decisions.halt_state().halted


def test_a_wrong_token_is_no_login(fresh: Bench) -> None:
    answer = fresh.client.post("/login", data={"name": "Eve", "token": TOKEN + "x"})
    assert answer.status_code == 401
    assert "That is no token of this console" in answer.text
    assert COOKIE not in fresh.client.cookies


def test_the_login_cookie_is_out_of_reach_of_scripts_and_other_sites(fresh: Bench) -> None:
    answer = fresh.client.post("/login", data={"name": "Ana", "token": TOKEN})
    cookie = answer.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert TOKEN not in cookie


def test_a_login_ends_with_its_time(fresh: Bench) -> None:
    fresh.login()
    fresh.clock.advance_to(NOW_S + 12 * 3600 + 1)
    assert fresh.client.post(APPROVE, data=FORM).status_code == 401


@pytest.mark.parametrize("cookie", ["", "x", "a.b", ".", "bm90.anNvbg", "WyJBIiwgOWUxMl0=.00"])
def test_a_forged_cookie_is_nobody(filled: Bench, cookie: str) -> None:
    headers = {"cookie": f"{COOKIE}={cookie}"}
    assert filled.client.post(APPROVE, data=FORM, headers=headers).status_code == 401


def test_a_login_leads_nowhere_else(fresh: Bench) -> None:
    for address in ("https://evil.example/", "//evil.example", "/\\evil.example", "evil"):
        data = {"name": "Ana", "token": TOKEN, "next": address}
        assert fresh.client.post("/login", data=data).headers["location"] == "/incidents"


def test_the_api_wants_the_version_that_was_seen(fresh: Bench) -> None:
    assert fresh.client.post(API_APPROVE, headers=BEARER).status_code == 428
    stale = fresh.client.post(API_APPROVE, headers=BEARER | {"if-match": '"9"'})
    assert (stale.status_code, stale.json()["version"]) == (412, 1)
    etag = fresh.client.get(f"/api/v1/plans/{MADE.plan}").headers["etag"]
    made = fresh.client.post(API_APPROVE, headers=BEARER | {"if-match": etag})
    assert made.status_code == 200
    assert made.json()["channel"] == "api"
    again = fresh.client.post(
        f"/api/v1/plans/{MADE.plan}/deny", headers=BEARER | {"if-match": etag}, json={"reason": ""}
    )
    assert again.status_code == 409
    assert again.json()["code"] == "already_decided"
    assert again.headers["content-type"] == "application/problem+json"


def test_a_wrong_bearer_is_nobody_even_with_a_login(fresh: Bench) -> None:
    fresh.login()
    headers = {"authorization": "Bearer guess", "if-match": '"1"'}
    assert fresh.client.post(API_APPROVE, headers=headers).status_code == 401


def test_halt_and_resume_are_said_on_every_page(fresh: Bench) -> None:
    fresh.login("Ana")
    assert fresh.client.post("/halt", data={"reason": "game day"}).status_code == 303
    page = fresh.client.get("/incidents").text
    assert "Everything is halted" in page
    assert "game day" in page
    fresh.client.post("/resume")
    assert "Everything is halted" not in fresh.client.get("/incidents").text


def test_a_note_is_kept_with_its_audit_record(fresh: Bench) -> None:
    fresh.login("Ana")
    answer = fresh.client.post(f"/incidents/{MADE.hot}/notes", data={"text": "  fans fixed "})
    assert answer.status_code == 303
    with fresh.store.reading() as tx:
        assert tx.notes.for_incident(MADE.hot)[-1].text == "fans fixed"
        last = tx.audit.about(MADE.hot)[-1]
    assert (last.verb, last.actor) == (AuditVerb.NOTE, "Ana")


def test_a_label_is_kept_and_shown(fresh: Bench) -> None:
    fresh.login("Ana")
    with fresh.store.reading() as tx:
        found = tx.incidents.get(MADE.hot)
    assert found is not None
    first = found.causes[0]
    data = {"key": cause_key(first), "verdict": "confirm"}
    answer = fresh.client.post(
        f"/incidents/{MADE.hot}/labels", data=data, headers={"hx-request": "true"}
    )
    assert answer.status_code == 200
    assert 'hx-target="#causes"' in answer.text
    with fresh.store.reading() as tx:
        assert tx.labels.for_incident(MADE.hot)[0].verdict is LabelVerdict.CONFIRM
    other = data | {"key": "made-up"}
    assert fresh.client.post(f"/incidents/{MADE.hot}/labels", data=other).status_code == 422


def test_a_demo_on_loopback_lets_everybody_decide(fresh: Bench, tmp_path: Path) -> None:
    settings = ConsoleSettings(auth="local-demo")
    made = bench(tmp_path, settings=settings, store=fresh.store, clock=fresh.clock)
    assert made.client.post(APPROVE, data=FORM).status_code == 303


@pytest.mark.parametrize("host", ["0.0.0.0", "10.1.2.3", "fleet.example", "::"])  # noqa: S104
def test_a_demo_on_a_network_is_refused(host: str) -> None:
    with pytest.raises(ValidationError, match="must be loopback"):
        ConsoleSettings(auth="local-demo", host=host)


@pytest.mark.parametrize("content", [None, "", "short"])
def test_a_token_file_that_cannot_serve_stops_the_start(
    tmp_path: Path, content: str | None
) -> None:
    path = tmp_path / "t"
    if content is not None:
        path.write_text(content)
    with pytest.raises(SettingsError, match=r"console\.token_file"):
        Operators(ConsoleSettings(token_file=str(path)), ManualClock(NOW_S))


def test_a_made_token_is_the_owners_alone_and_made_once(tmp_path: Path) -> None:
    path = tmp_path / "var" / "operator.token"
    assert ensure_token(path)
    first = path.read_text()
    assert path.stat().st_mode & 0o777 == 0o600
    assert not ensure_token(path)
    assert path.read_text() == first
