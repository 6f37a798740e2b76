"""Every page answers, says what it must, and says why when there is nothing."""

import re
from html import unescape

import pytest

from tests.unit.console.builder import MADE
from tests.unit.console.client import Bench

PAGES = (
    "/incidents",
    "/incidents?status=all",
    f"/incidents/{MADE.hot}",
    f"/incidents/{MADE.hot}?view=table",
    f"/incidents/{MADE.silent}",
    f"/incidents/{MADE.leak}",
    "/fleet",
    "/fleet?view=table",
    "/actions",
    "/audit",
    "/login",
)


def text_of(html: str) -> str:
    """What a reader sees, on one line."""
    html = re.sub(r"<script.*?</script>|<svg.*?</svg>", "", html, flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole(filled: Bench, path: str) -> None:
    answer = filled.client.get(path)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("</html>")


@pytest.mark.parametrize("path", PAGES)
def test_no_page_needs_an_exception_from_its_own_policy(filled: Bench, path: str) -> None:
    """No inline script, style or handler, and nothing from elsewhere."""
    html = filled.client.get(path).text
    scripts = re.findall(r"<script\b[^>]*>", html)
    assert all("src=" in s or 'type="application/json"' in s for s in scripts)
    assert not re.search(r"<[^>]+\s(style|on\w+)=", html)
    assert not re.search(r'(src|href|action)="(https?:)?//', html)


def test_the_front_page_is_the_list(filled: Bench) -> None:
    answer = filled.client.get("/")
    assert (answer.status_code, answer.headers["location"]) == (303, "/incidents")


def test_the_list_shows_both_axes_of_the_state(filled: Bench) -> None:
    words = text_of(filled.client.get("/incidents").text)
    assert "TPOT p95 above its budget" in words
    assert "GPU thermal slowdown · 91%" in words
    assert "Open Waits for approval" in words
    assert "Open Repair is running" in words
    assert "Held: the pool only recommends" in words


def test_the_story_names_evidence_cause_and_deeds(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}").text
    words = text_of(html)
    assert "SM clock of node-7/gpu:1 fell to 345 MHz (expected 1,905 to 1,980 MHz)" in words
    assert "The best explanation is GPU thermal slowdown on node-7/gpu:1 (91%)" in words
    assert "fleetmend cordoned node-7" in words
    assert "Draining node-7 waits for your approval" in words
    for number in range(1, 8):
        assert f'href="#e{number}"' in html
        assert f'id="e{number}"' in html


def test_the_plan_says_what_admission_said_by_name(filled: Bench) -> None:
    words = text_of(filled.client.get(f"/incidents/{MADE.hot}").text)
    assert "approval_missing needs a person's approval" in words
    assert "rate_exceeded too many taken lately rack r12: number 2 within 600 s" in words
    assert "Rollback uncordon node-7" in words


def test_the_plan_comes_before_the_evidence_of_the_right_column(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}").text
    assert html.index('id="plan"') < html.index('id="affected"') < html.index('id="timeline"')


def test_every_chart_has_a_table_with_its_points(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}?view=table").text
    assert html.count('class="scroll twin"') == 4
    assert "1,965 MHz" in html or "1,96" in html
    assert "peers (median)" in html
    assert "data-chart" not in html


def test_an_abstention_is_said_and_the_next_check_named(filled: Bench) -> None:
    words = text_of(filled.client.get(f"/incidents/{MADE.silent}").text)
    assert "No cause is named: too much telemetry is missing." in words
    assert "Next best check : Probe node-41 from outside the rack" in words
    assert "No repair is planned." in words


def test_what_is_not_there_is_404_in_the_readers_language(filled: Bench) -> None:
    page = filled.client.get("/incidents/nope")
    assert page.status_code == 404
    assert "There is no such incident" in page.text
    data = filled.client.get("/api/v1/incidents/nope")
    assert data.status_code == 404
    assert data.headers["content-type"] == "application/problem+json"
    assert data.json()["code"] == "not_found"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/incidents", "New ones appear here by themselves"),
        ("/incidents?status=resolved", "Try another status"),
        ("/incidents?severity=P0", "Only P0 is shown"),
        ("/actions", "A session opens when a runbook matches"),
        ("/audit", "Nothing has been decided or done"),
        ("/fleet", "The map needs the topology"),
    ],
)
def test_an_empty_page_says_why(empty: Bench, path: str, why: str) -> None:
    answer = empty.client.get(path)
    assert answer.status_code == 200
    assert why in answer.text


def test_the_short_link_leads_to_the_incident(filled: Bench) -> None:
    answer = filled.client.get(f"/i/{MADE.hot}")
    assert answer.headers["location"] == f"/incidents/{MADE.hot}"


def test_the_theme_of_the_reader_is_in_the_first_byte(filled: Bench) -> None:
    chosen = filled.client.get("/incidents", headers={"cookie": "fleetmend_theme=dark"})
    assert '<html lang="en" data-theme="dark"' in chosen.text
    forged = filled.client.get("/incidents", headers={"cookie": 'fleetmend_theme="><b>'})
    assert "data-theme=" not in forged.text.split("</head>")[0]


def test_live_parts_replace_every_card(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}/live").text
    assert "<html" not in html
    for part in ("head", "impact", "summary", "evidence", "causes", "plan", "timeline", "decide"):
        assert f'hx-target="#{part}"' in html
        assert f'id="{part}"' in html
