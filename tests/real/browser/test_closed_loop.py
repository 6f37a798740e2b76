"""The whole loop as a person sees it: a fault is made in the simulated fleet, the incident appears,
is approved in a real Chromium, is mended and resolves."""

import re
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from deploy.parts.process import Daemon, free_port
from remediation.runbook_files import shipped

pytestmark = pytest.mark.browser

FAULT = "gpu_fallen_off_bus"
PATIENCE_MS = 300_000


@pytest.fixture
def platform(tmp_path: Path) -> Iterator[str]:
    """`fleetmend demo` on a small fleet that asks before it acts and breaks only when told to."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    program = Path(sys.executable).with_name("fleetmend")
    data = tmp_path / "data"
    runbooks = quick_runbooks(tmp_path / "runbooks")
    daemon = Daemon(
        [program, "demo", "--gpus", "96", "--port", str(port), "--seed", "7", "--data", data],
        log=tmp_path / "demo.log",
        env={
            "FLEETMEND_REMEDIATION__DEFAULT__AUTONOMY": "approve",
            "FLEETMEND_REMEDIATION__RUNBOOKS": str(runbooks),
            "FLEETMEND_RCA__INCIDENT__MITIGATED_HOLD_S": "20",
            "FLEETMEND_SIMULATOR__FAULTS__SPEED_UP": "0",
            "FLEETMEND_SIMULATOR__FAULTS__DEPLOY_EVERY_S": "0",
            "FLEETMEND_SIMULATOR__LOAD__MEAN_RUNNING": "0.25",  # so that a node can be spared
            "FLEETMEND_SIMULATOR__LIFE__REPAIR_S": "5",
            "FLEETMEND_SIMULATOR__LIFE__START_S_MIN": "2",
            "FLEETMEND_SIMULATOR__LIFE__START_S_MAX": "4",
        },
    )

    def answers() -> bool:
        with urllib.request.urlopen(f"{address}/readyz", timeout=2) as page:  # noqa: S310
            return bool(page.status == 200)

    daemon.await_ready(answers, timeout_s=120)
    yield address
    daemon.stop()


def quick_runbooks(folder: Path) -> Path:
    """The shipped runbooks with a probation of seconds: the test waits in real time."""
    folder.mkdir()
    for book in shipped().glob("*.yaml"):
        text = re.sub(r"^probation_s: .*$", "probation_s: 10", book.read_text(), flags=re.MULTILINE)
        (folder / book.name).write_text(text)
    return folder


def test_a_fault_appears_is_approved_and_resolves(platform: str, chromium: Browser) -> None:
    page = chromium.new_context().new_page()
    page.set_default_timeout(PATIENCE_MS)
    expect.set_options(timeout=PATIENCE_MS)

    page.goto(f"{platform}/fleet", wait_until="domcontentloaded")
    page.get_by_role("combobox").select_option(FAULT)
    page.get_by_role("button", name=re.compile("Make it now")).click()
    page.goto(f"{platform}/incidents", wait_until="domcontentloaded")
    page.get_by_role("link", name=re.compile("fallen off the bus")).first.click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("fallen off the bus")

    page.get_by_role("button", name=re.compile("Approve")).first.click()
    page.get_by_role("dialog").get_by_role("button", name=re.compile("Approve")).click()

    expect(page.get_by_text("Resolved", exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile("given back", re.IGNORECASE)).first).to_be_visible()
