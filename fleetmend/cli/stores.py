"""The store as commands open it: migrated to the newest form is required, not done."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleetmend.cli.config import load
from fleetmend.cli.openfiles import SQLITE_URL
from fleetmend.clock import SystemClock
from fleetmend.errors import StoreError
from fleetmend.store import Store

_MAGIC = b"SQLite format 3\0"
"""How such a file begins (https://www.sqlite.org/fileformat2.html, section 1.3)."""


@contextmanager
def open_store(config: Path | None) -> Iterator[Store]:
    """The store that the settings name. Raises StoreError when there is none, or its
    tables are not up to date."""
    settings = load(config).settings
    refuse_missing(settings.store.url)
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


def refuse_missing(url: str) -> None:
    """SQLite makes the file that it is told to open: a mistyped path must not leave an empty
    database that looks like an empty audit log. Raises StoreError."""
    if not url.startswith(SQLITE_URL):
        return
    path = Path(url.removeprefix(SQLITE_URL))
    fix = "Name the store: --config FILE, or FLEETMEND_STORE__URL=sqlite:///PATH."
    if not path.is_file():
        raise StoreError("no such file", where=str(path), fix=fix)
    with path.open("rb") as file:
        if file.read(len(_MAGIC)) != _MAGIC:
            raise StoreError("is no database", where=str(path), fix=fix)
