"""The front end stays small: what a browser has to fetch before the incident page works."""

import gzip
import json
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

JS_KB_MAX = 60.0
CSS_KB_MAX = 25.0


def gzipped_kb(static: Path, *entries: str) -> float:
    """Kilobytes (1000 bytes) of entries of the manifest, compressed as a server would."""
    manifest = json.loads((static / "manifest.json").read_text())
    return sum(len(gzip.compress((static / manifest[e]).read_bytes(), 6)) for e in entries) / 1000


def test_the_scripts_of_the_incident_page_are_within_budget(static: Path) -> None:
    assert 5 < gzipped_kb(static, "main.js", "incident.js") <= JS_KB_MAX


def test_the_styles_are_within_budget(static: Path) -> None:
    assert 1 < gzipped_kb(static, "app.css") <= CSS_KB_MAX


def test_every_icon_is_in_the_build(static: Path) -> None:
    names = (static.parents[1] / "web" / "icons.txt").read_text().split()
    icons = json.loads((static / "icons.json").read_text())
    assert sorted(icons) == sorted(set(names))
    assert all("<script" not in svg and " on" not in svg for svg in icons.values())


def test_licences_travel_with_the_build(static: Path) -> None:
    text = (static / "licences.txt").read_text()
    for name in ("htmx.org", "uplot", "inter", "jetbrains-mono", "lucide-static"):
        assert name in text
