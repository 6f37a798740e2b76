"""What people see: nothing overflows, the decision is in sight, charts and map are drawn."""

import pytest

from tests.real.browser.conftest import Look, Open
from tests.real.browser.preview import Preview
from tests.unit.console.builder import MADE

pytestmark = pytest.mark.browser

PAGES = [
    "/incidents?status=all",
    f"/incidents/{MADE.hot}",
    f"/incidents/{MADE.hot}?view=table",
    "/fleet",
    "/fleet?view=table",
    "/actions",
    "/audit",
    "/login",
]


@pytest.mark.parametrize("path", PAGES)
def test_no_page_is_wider_than_its_window(shown: Preview, look_at: Open, path: str) -> None:
    with look_at(shown.address + path) as page:
        for width in (1440, 1180, 900, 390):
            page.set_viewport_size({"width": width, "height": 900})
            size = page.evaluate(
                "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
            )
            assert size[0] <= size[1], width


def test_the_decision_is_within_the_first_screen(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/incidents/{MADE.hot}") as page:
        box = page.locator("button", has_text="Approve and run").first.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 900


def test_charts_share_one_axis_and_one_cursor(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/incidents/{MADE.hot}") as page:
        page.wait_for_selector(".pl .uplot")
        assert page.locator(".pl .uplot").count() == 4
        before = page.locator("#e1 .val").inner_text()
        page.locator("#e2 .u-over").hover(position={"x": 120, "y": 20})
        page.wait_for_function("document.querySelector('#cursor-time').textContent !== ''")
        assert page.locator("#e1 .val").inner_text() != before
        assert page.locator(".lanes .cursor").is_visible()


def test_a_page_without_scripts_says_the_same(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/incidents/{MADE.hot}", Look(scripts=False)) as page:
        assert "fleetmend cordoned node-7" in page.locator("#summary").inner_text()
        assert "approval_missing" in page.locator("#plan").inner_text()
        assert "UTC" in page.locator("#head time").inner_text()
        page.locator("#evidence a", has_text="Table view").click()
        assert page.locator(".twin").count() == 4


def test_times_are_in_the_readers_zone_and_in_utc_on_demand(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/incidents/{MADE.hot}") as page:
        assert page.locator("#zone-word").inner_text() == "UTC+08:00 Shanghai"
        assert page.locator("#head time").inner_text() == "01:53:48"
        page.locator("#zone").click()
        assert page.locator("#head time").inner_text() == "17:53:48"


def test_the_theme_is_switched_and_kept(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/incidents", Look(theme="light")) as page:
        ground = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(ground)
        page.locator("#theme").click()
        assert page.evaluate(ground) != light
        page.reload(wait_until="domcontentloaded")
        assert page.evaluate(ground) != light


def test_the_map_shows_the_fault_and_leads_to_its_incident(shown: Preview, look_at: Open) -> None:
    with look_at(f"{shown.address}/fleet") as page:
        canvas = page.locator('figure:has-text("chat-h200") canvas')
        page.wait_for_function("document.querySelector('.pool canvas').height > 50")
        red = canvas.evaluate(
            """c => { const ctx = c.getContext('2d');
            const {data, width} = ctx.getImageData(0, 0, c.width, c.height);
            for (let i = 0; i < data.length; i += 4)
              if (data[i] === 255 && data[i + 1] === 77 && data[i + 2] === 94)
                return [i / 4 % width, Math.floor(i / 4 / width)];
            return null; }"""
        )
        assert red is not None
        canvas.hover(position={"x": red[0] + 3, "y": red[1] + 3})
        assert "faulty" in page.locator("#tip").inner_text()
        canvas.click(position={"x": red[0] + 3, "y": red[1] + 3})
        page.wait_for_url("**/incidents/inc-*")


def test_a_hundred_thousand_gpus_are_drawn_in_a_blink(shown: Preview, look_at: Open) -> None:
    """The map's own code on a large pool: one image, not one rectangle per GPU."""
    with look_at(f"{shown.address}/fleet") as page:
        page.wait_for_function("document.querySelector('.pool canvas').height > 50")
        pools = page.evaluate("fetch('/api/v1/fleet').then(r => r.json())")
        node = pools["pools"][0]["nodes"][0]
        pools["pools"][0]["nodes"] = [{**node, "name": f"n{i}"} for i in range(12_500)]
        page.route("**/api/v1/fleet", lambda route: route.fulfill(json=pools))
        spent_ms = page.evaluate(
            """async () => {
            const canvas = document.querySelector('.pool canvas'), before = canvas.height;
            document.dispatchEvent(new Event('fm:changed'));
            while (canvas.height === before) await new Promise(r => setTimeout(r, 20));
            const start = performance.now();
            dispatchEvent(new Event('resize'));
            return performance.now() - start; }"""
        )
        assert spent_ms < 500
