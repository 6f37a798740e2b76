"""A real Chromium on the console's own build, over made-up data.

Chromium and npm must be there: what cannot be had fails the tests, nothing is skipped.
"""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from console.assets import STATIC
from tests.real.browser.preview import Preview, preview

WEB = STATIC.parents[1] / "web"
CHROMIUM = os.environ.get("CHROMIUM", "/usr/bin/chromium")
PATIENCE_MS = 60_000
"""How long to wait for a page: test machines are busy."""
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="session")
def static() -> Path:
    """The front end, built from the sources that are there now."""
    npm = shutil.which("npm")
    assert npm is not None, "npm is needed: install Node.js 20"
    if not (WEB / "node_modules").exists():
        subprocess.run([npm, "ci", "--ignore-scripts"], cwd=WEB, check=True)
    subprocess.run([npm, "run", "build"], cwd=WEB, check=True)
    return STATIC


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """One browser for all tests."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def console(static: Path, tmp_path: Path) -> Iterator[Preview]:
    """A console of the test's own, with the preview's data; everybody may decide."""
    with preview(tmp_path) as running:
        yield running


@pytest.fixture(scope="session")
def shown(static: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preview]:
    """The same for tests that only look."""
    with preview(tmp_path_factory.mktemp("preview")) as running:
        yield running


@dataclass(frozen=True, slots=True)
class Look:
    """How a page is looked at."""

    width: int = 1440
    height: int = 900
    theme: str = "dark"
    scripts: bool = True
    status: int = 200
    """An answer that is no success and meant so; every other complaint fails the test."""


Open = Callable[..., AbstractContextManager[Page]]


@pytest.fixture
def look_at(chromium: Browser) -> Open:
    """Open an address as a reader would; a page that complains fails the test."""

    @contextmanager
    def look(address: str, how: Look = Look()) -> Iterator[Page]:
        context = chromium.new_context(
            viewport={"width": how.width, "height": how.height},
            color_scheme="dark" if how.theme == "dark" else "light",
            timezone_id="Asia/Shanghai",
            java_script_enabled=how.scripts,
            permissions=["clipboard-read", "clipboard-write"],
        )
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        said: list[str] = []
        page.on("console", lambda m: said.append(m.text) if m.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        page.goto(address, wait_until="domcontentloaded")
        if how.scripts:
            page.wait_for_selector('#live-chip[data-state="live"]')
            page.evaluate("document.fonts.ready.then(() => true)")
        yield page
        context.close()
        assert [text for text in said if f"status of {how.status}" not in text] == []

    return look
