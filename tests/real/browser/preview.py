"""Serve the console with made-up data, to look at it: `python -m tests.real.browser.preview`.

Prints the address. The store is a file in a temporary folder; nothing outside is touched. With
`--token` decisions need the token that is printed too. The browser tests look at the same.
"""

import argparse
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from console.auth import ensure_token
from console.deps import ConsoleDeps
from console.server import ConsoleServer
from fleetmend.clock import ManualClock
from fleetmend.settings.console import ConsoleSettings
from fleetmend.store import Store
from tests.unit.console.builder import NOW_S, open_store
from tests.unit.console.fakes import FakeFaults, FakeFleet, decisions
from tests.unit.console.scenes import fill


@dataclass(frozen=True, slots=True)
class Preview:
    """A running console over made-up data."""

    address: str
    store: Store


@contextmanager
def preview(folder: Path, *, port: int = 0, token: bool = False) -> Iterator[Preview]:
    """A console over a filled store in `folder`, as long as the block."""
    clock = ManualClock(NOW_S)
    store = open_store(folder, clock)
    fill(store)
    path = folder / "operator.token"
    if token:
        ensure_token(path)
    settings = ConsoleSettings(
        port=port,
        auth="token" if token else "local-demo",
        token_file=str(path),
        poll_s=0.2,
        heartbeat_s=1.0,
    )
    service = decisions(store, clock)
    server = ConsoleServer(
        ConsoleDeps(settings, clock, store, service, fleet=FakeFleet(), faults=FakeFaults())
    )
    try:
        yield Preview(server.start(), store)
    finally:
        server.stop()
        store.close()


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=8461)
    parser.add_argument("--token", action="store_true")
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as name,
        preview(Path(name), port=options.port, token=options.token) as running,
    ):
        print(running.address, flush=True)  # noqa: T201 -- a tool for people
        if options.token:
            print((Path(name) / "operator.token").read_text().strip())  # noqa: T201
        signal.sigwait({signal.SIGINT, signal.SIGTERM})


if __name__ == "__main__":
    main()
