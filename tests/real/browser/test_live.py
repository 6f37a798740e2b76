"""Live and by keyboard: a new incident appears, a decision is made, others see it."""

from dataclasses import replace

import pytest

from fleetmend.model.incidents import IncidentStatus, Severity
from tests.real.browser.conftest import Look, Open
from tests.real.browser.preview import Preview
from tests.unit.console.builder import MADE, NOW_S, incident

pytestmark = pytest.mark.browser


def test_a_new_incident_appears_and_resolves_without_reloading(
    console: Preview, look_at: Open
) -> None:
    with look_at(f"{console.address}/incidents") as page:
        page.evaluate("window.notReloaded = true")
        new = incident("inc-new", title="A new one", opened_at_s=NOW_S, severity=Severity.P0)
        with console.store.transaction() as tx:
            tx.incidents.put(new)
        page.wait_for_selector("#row-inc-new")
        done = replace(new, version=2, status=IncidentStatus.RESOLVED, resolved_at_s=NOW_S + 1)
        with console.store.transaction() as tx:
            tx.incidents.put(done)
        page.wait_for_selector("#row-inc-new", state="detached")
        assert page.evaluate("window.notReloaded")


def test_the_incident_page_follows_its_incident(console: Preview, look_at: Open) -> None:
    with look_at(f"{console.address}/incidents/{MADE.hot}") as page:
        page.wait_for_selector(".pl .uplot")
        with console.store.transaction() as tx:
            held = tx.incidents.get(MADE.hot)
            assert held is not None
            tx.incidents.put(replace(held, version=9, title="A better title", change="confirmed"))
        page.wait_for_selector("h1:has-text('A better title')")
        page.wait_for_selector(".pl .uplot")
        assert page.locator(".pl .uplot").count() == 4


def test_the_keyboard_alone_approves_and_never_at_once(console: Preview, look_at: Open) -> None:
    with look_at(f"{console.address}/incidents/{MADE.hot}") as page:
        page.keyboard.press("a")
        page.wait_for_selector("#dlg-approve[open]")
        assert approval(console) is None
        assert page.evaluate("document.activeElement.closest('dialog') !== null")
        page.keyboard.press("Escape")
        page.wait_for_selector("#dlg-approve[open]", state="detached")
        assert approval(console) is None
        page.keyboard.press("a")
        page.keyboard.press("Control+Enter")
        page.wait_for_selector("main .banner:has-text('Approved.')")
        assert approval(console) == (True, "local operator")


def test_tab_and_enter_reach_the_decision_too(console: Preview, look_at: Open) -> None:
    with look_at(f"{console.address}/incidents/{MADE.hot}") as page:
        for _ in range(80):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.textContent.includes('Approve and run')"):
                break
        else:
            pytest.fail("Tab does not reach the button")
        page.keyboard.press("Enter")
        page.wait_for_selector("#dlg-approve[open]")


def test_the_second_person_sees_who_was_first(console: Preview, look_at: Open) -> None:
    address = f"{console.address}/incidents/{MADE.hot}"
    with look_at(address) as first, look_at(address, Look(status=409)) as second:
        second.keyboard.press("d")
        second.wait_for_selector("#dlg-deny[open]")
        first.keyboard.press("a")
        first.keyboard.press("Control+Enter")
        first.wait_for_selector("main .banner:has-text('Approved.')")
        second.locator("#dlg-deny input[name=reason]").fill("not today")
        with second.expect_navigation():
            second.locator("#dlg-deny button.dan").click()
        assert "Already approved by local operator" in second.locator("main").inner_text()


def test_a_note_and_a_label_are_kept_in_place(console: Preview, look_at: Open) -> None:
    with look_at(f"{console.address}/incidents/{MADE.hot}") as page:
        page.evaluate("window.notReloaded = true")
        page.get_by_label("Add a note").fill("seen <b>it</b>")
        page.keyboard.press("Enter")
        page.wait_for_selector("#timeline li:has-text('seen <b>it</b>')")
        page.get_by_role("button", name="Confirm cause 1").click()
        page.wait_for_selector("#cause-1 [aria-pressed=true]")
        assert page.evaluate("window.notReloaded")
        assert page.get_by_label("Add a note").input_value() == ""


def test_single_keys_can_be_switched_off(console: Preview, look_at: Open) -> None:
    with look_at(f"{console.address}/incidents/{MADE.hot}") as page:
        page.keyboard.press("?")
        page.get_by_label("Single-key shortcuts").uncheck()
        page.keyboard.press("Escape")
        page.wait_for_selector("#keys[open]", state="detached")
        page.keyboard.press("a")
        assert page.locator("#dlg-approve[open]").count() == 0


def approval(console: Preview) -> tuple[bool, str] | None:
    """The decision on the rich incident's plan."""
    with console.store.reading() as tx:
        made = tx.approvals.get(MADE.plan, 1)
    return None if made is None else (made.granted, made.by)
