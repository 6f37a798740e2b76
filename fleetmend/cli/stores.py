"""The store as commands open it: migrated to the newest form is required, not done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetmend.cli.settings import load
from fleetmend.clock import SystemClock
from fleetmend.errors import StoreError
from fleetmend.store import Store


@contextmanager
def open_store(config: Path | None) -> Iterator[Store]:
    """The store that the settings name. Raises StoreError when its tables are not up to date."""
    settings = load(config).settings
    store = Store(settings.store.url, SystemClock(), settings=settings.store)
    try:
        if not store.at_head():
            raise StoreError(
                "the tables are not up to date",
                where=settings.store.url.rpartition("@")[2],
                fix="Start `fleetmend up` once: it brings them to the newest form.",
            )
        yield store
    finally:
        store.close()
