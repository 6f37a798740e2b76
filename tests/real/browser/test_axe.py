"""axe finds nothing: every page, both themes, WCAG 2.0 to 2.2 A and AA and best practice."""

import pytest
from playwright.sync_api import Page

from tests.real.browser.conftest import WEB, Look, Open
from tests.real.browser.preview import Preview
from tests.unit.console.builder import MADE

pytestmark = pytest.mark.browser

PAGES = {
    "incidents": "/incidents?status=all",
    "incident": f"/incidents/{MADE.hot}",
    "table": f"/incidents/{MADE.hot}?view=table",
    "blind": f"/incidents/{MADE.silent}",
    "fleet": "/fleet",
    "gpus": "/fleet?view=table",
    "actions": "/actions",
    "audit": "/audit",
    "login": "/login",
    "error": "/incidents/nope",
}
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def violations(page: Page) -> list[str]:
    """What axe says in both themes, one line per rule and element."""
    page.evaluate((WEB / "node_modules/axe-core/axe.min.js").read_text())
    said = []
    for theme in ("dark", "light"):
        page.emulate_media(color_scheme=theme)
        found = page.evaluate("tags => axe.run({runOnly: tags})", TAGS)
        assert len(found["passes"]) > 12, "axe did not look"
        said += [
            f"{theme} {rule['id']}: {node['target']} {node.get('failureSummary', '')[:200]}"
            for rule in found["violations"]
            for node in rule["nodes"]
        ]
    return said


@pytest.mark.parametrize("name", PAGES)
def test_axe_finds_nothing(shown: Preview, look_at: Open, name: str) -> None:
    how = Look(status=404 if name == "error" else 200)
    with look_at(shown.address + PAGES[name], how) as page:
        assert violations(page) == []


def test_axe_finds_nothing_in_the_dialogs_and_on_a_phone(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/incidents/{MADE.hot}", Look(390, 844)) as page:
        assert violations(page) == []
        for key, dialog in (("a", "dlg-approve"), ("u", "dlg-undo"), ("?", "keys")):
            page.keyboard.press(key)
            page.wait_for_selector(f"#{dialog}[open]")
            assert violations(page) == []
            page.keyboard.press("Escape")
            page.wait_for_selector(f"#{dialog}[open]", state="detached")


def test_axe_would_find_something(shown: Preview, look_at: Open) -> None:
    """The check itself can fail: grey on grey is seen in both themes."""
    with look_at(f"{shown.address}/incidents") as page:
        page.evaluate(
            "const p = document.createElement('p'); p.textContent = 'Pale words';"
            "p.style.color = '#777'; p.style.background = '#888';"
            "document.getElementById('main').append(p);"
        )
        assert [line.split(":")[0] for line in violations(page)] == [
            "dark color-contrast",
            "light color-contrast",
        ]
