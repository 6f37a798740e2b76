"""The store: what must be true after a crash. SQLite by default, PostgreSQL for a fleet.

Everybody outside imports from here; SQLAlchemy stays inside.
"""

from fleetmend.store.adapters import StoreDeadLetters, StoreSnapshots
from fleetmend.store.coverage import CoverageEntries, CoverageFilter
from fleetmend.store.decisions import AlreadyDecided
from fleetmend.store.evidence import Label, LabelVerdict, Note, Series
from fleetmend.store.outbox import OutboxRow, OutboxState
from fleetmend.store.receivers import Notice, ReceiverOff
from fleetmend.store.sessions import nodes_held_by
from fleetmend.store.store import Store, Transaction
from fleetmend.store.thinning import Points, thinned

__all__ = [
    "AlreadyDecided",
    "CoverageEntries",
    "CoverageFilter",
    "Label",
    "LabelVerdict",
    "Note",
    "Notice",
    "OutboxRow",
    "OutboxState",
    "Points",
    "ReceiverOff",
    "Series",
    "Store",
    "StoreDeadLetters",
    "StoreSnapshots",
    "Transaction",
    "nodes_held_by",
    "thinned",
]
