"""A console on a fresh store with a client for it."""

import warnings
from dataclasses import dataclass
from pathlib import Path

from console.app import create_app
from console.deps import ConsoleDeps, FleetProvider
from fleetmend.clock import ManualClock
from fleetmend.ports.faults import FaultInjector
from fleetmend.settings.console import ConsoleSettings
from fleetmend.store import Store
from remediation.service import RemediationService
from tests.unit.console.builder import NOW_S, open_store
from tests.unit.console.fakes import decisions

with warnings.catch_warnings():
    # Starlette's client prefers a newer HTTP library than the one that the house uses.
    warnings.simplefilter("ignore")
    from fastapi.testclient import TestClient

TOKEN = "correct-horse-battery-staple"  # noqa: S105 -- opens nothing but these tests
ORIGIN = "http://127.0.0.1"


@dataclass(frozen=True, slots=True)
class Bench:
    """A console and what lies behind it."""

    client: TestClient
    store: Store
    clock: ManualClock
    decisions: RemediationService
    deps: ConsoleDeps

    def login(self, name: str = "Ana") -> None:
        """The client holds a login from now on."""
        answer = self.client.post("/login", data={"name": name, "token": TOKEN})
        assert answer.status_code == 303, answer.text


def bench(
    folder: Path,
    *,
    settings: ConsoleSettings | None = None,
    fleet: FleetProvider | None = None,
    faults: FaultInjector | None = None,
    store: Store | None = None,
    clock: ManualClock | None = None,
) -> Bench:
    """A console in `folder`: everybody may look, decisions need the token `TOKEN`, unless the
    settings say otherwise."""
    own_clock = clock or ManualClock(NOW_S)
    own_store = store or open_store(folder, own_clock)
    token = folder / "operator.token"
    token.write_text(TOKEN + "\n")
    chosen = settings or ConsoleSettings(token_file=str(token), read="open")
    service = decisions(own_store, own_clock)
    deps = ConsoleDeps(chosen, own_clock, own_store, service, fleet=fleet, faults=faults)
    client = TestClient(
        create_app(deps),
        base_url=ORIGIN,
        follow_redirects=False,
        raise_server_exceptions=False,
    )
    return Bench(client, own_store, own_clock, service, deps)
