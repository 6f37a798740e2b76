"""Text from telemetry is hostile: it is shown, capped, and never anything else."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from fleetmend.clock import ManualClock
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident
from tests.unit.console.builder import MADE, NOW_S, store_at
from tests.unit.console.client import Bench, bench

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'><svg/onload=alert(3)>"
BELL = "line\x00two\x1b[31m\u202e end"


class Tags(HTMLParser):
    """Collects what a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = {name for name, _ in attrs}
        inert = dict(attrs).get("type") == "application/json"
        if tag == "img" or any(name.startswith("on") for name in names):
            self.bad.append(tag)
        if tag == "script" and "src" not in names and not inert:
            self.bad.append(tag)


def hostile(incident: Incident, text: str) -> Incident:
    """Every free text of an incident replaced."""
    evidence = tuple(
        replace(e, detail=text, symptom=text, unit=text, entity=EntityId(text))
        for e in incident.evidence
    )
    causes = tuple(
        replace(c, cause=text, contradicts=(text, f"absent:{text}"), path=(EntityId(text),) * 2)
        for c in incident.causes
    )
    return replace(
        incident,
        version=incident.version + 1,
        title=text,
        severity_reason=text,
        next_check=text,
        change=text,
        evidence=evidence,
        causes=causes,
        affected=(EntityId(text), *incident.affected),
    )


def poison(made: Bench, text: str) -> None:
    with made.store.transaction() as tx:
        held = tx.incidents.get(MADE.hot)
        assert held is not None
        poisoned = hostile(held, text)
        tx.incidents.put(poisoned)
        tx.notes.add(MADE.hot, text, 1.0, text)
        points = np.array([1.0, 2.0]), np.array([1.0, 2.0])
        tx.series.extend(MADE.hot, EntityId(text), text, points, text)


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory, filled_file: Path) -> Iterator[Bench]:
    """Every free text is markup."""
    folder = tmp_path_factory.mktemp("poisoned")
    shutil.copy(filled_file, folder)
    clock = ManualClock(NOW_S)
    made = bench(folder, store=store_at(folder, clock), clock=clock)
    poison(made, EVIL)
    yield made
    made.store.close()


@pytest.mark.parametrize(
    "path",
    [
        "/incidents",
        f"/incidents/{MADE.hot}",
        f"/incidents/{MADE.hot}?view=table",
        f"/incidents/{MADE.hot}/live",
        "/fleet",
        "/actions",
        "/audit",
    ],
)
def test_markup_in_telemetry_stays_text(poisoned: Bench, path: str) -> None:
    answer = poisoned.client.get(path)
    assert answer.status_code == 200
    tags = Tags()
    tags.feed(answer.text)
    assert tags.bad == []


def test_points_in_the_page_cannot_close_their_block(poisoned: Bench) -> None:
    html = poisoned.client.get(f"/incidents/{MADE.hot}").text
    block = html.split('id="charts-data">')[1].split("</script>")[0]
    assert "<" not in block


def test_control_characters_become_visible(fresh: Bench) -> None:
    poison(fresh, BELL)
    html = fresh.client.get(f"/incidents/{MADE.hot}").text
    for char in "\x00\x1b\u202e":
        assert char not in html
    assert "\N{REPLACEMENT CHARACTER}" in html


def test_long_text_is_cut_everywhere(fresh: Bench) -> None:
    poison(fresh, "A" * 50_000)
    for path in ("/incidents", f"/incidents/{MADE.hot}", "/fleet", "/actions", "/audit"):
        html = fresh.client.get(path).text
        assert "A" * 401 not in html


def test_the_name_of_a_notice_is_no_text_of_the_page(filled: Bench) -> None:
    html = filled.client.get(f"/incidents/{MADE.hot}?said=Your+account+is+locked").text
    assert "locked" not in html


def test_a_hostile_cursor_is_refused_by_name(poisoned: Bench) -> None:
    answer = poisoned.client.get("/api/v1/incidents", params={"after": EVIL})
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    page = poisoned.client.get("/incidents", params={"after": EVIL})
    tags = Tags()
    tags.feed(page.text)
    assert (page.status_code, tags.bad) == (422, [])
