"""Readiness covers the services that run beside the console, not only what it needs itself."""

from dataclasses import replace

from prometheus_client import CollectorRegistry

from console.app import create_app
from tests.unit.console.client import ORIGIN, Bench


def test_a_service_that_fails_beside_it_makes_the_console_unready(empty: Bench) -> None:
    failing: list[str] = []
    deps = replace(empty.deps, unready=lambda: failing, registry=CollectorRegistry())
    client = type(empty.client)(create_app(deps), base_url=ORIGIN)

    well = client.get("/readyz")
    failing.append("detection: the log at 10.0.0.7 does not answer")
    unwell = client.get("/readyz")

    assert (well.status_code, well.json()["services"]) == (200, True)
    assert (unwell.status_code, unwell.json()["services"]) == (503, False)
    assert "10.0.0.7" not in unwell.text, "the page is for everybody"
