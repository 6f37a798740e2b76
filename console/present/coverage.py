"""What is not heard, for the fleet page: the worst of the coverage ledger, and whether it is kept.

Called by `console.pages.fleet`.
"""

from dataclasses import dataclass

from console.figures import kind_word, name_of, span
from console.words import FRESHNESS, Word
from fleetmend.model.coverage import MISSING, Coverage, Freshness
from fleetmend.store import CoverageFilter, Transaction

SHOWN = 8
BEHIND_S = 60.0
"""A ledger whose last word is older is kept by nobody. 60: it speaks every ten seconds."""


@dataclass(frozen=True, slots=True)
class UnheardRow:
    """One entity that is missing."""

    name: str
    """Kind and key."""
    word: Word
    since_s: float
    why: str


@dataclass(frozen=True, slots=True)
class Heard:
    """How well the fleet is heard."""

    rows: tuple[UnheardRow, ...]
    """The first of those that are missing."""
    missing: int
    known: int
    late: int
    behind: str
    """For how long nobody has kept the ledger, empty while somebody does."""

    @property
    def more(self) -> int:
        """How many are missing beside those shown."""
        return self.missing - len(self.rows)


def heard(tx: Transaction, now_s: float) -> Heard | None:
    """The card; None where no ledger was ever kept."""
    reached_s = tx.coverage.reached_s()
    if reached_s is None:
        return None
    states = [state for kind in tx.coverage.counts().values() for state in kind.items()]
    found: list[Coverage] = []
    for state in sorted(MISSING):
        found += tx.coverage.page(CoverageFilter(state=state), limit=SHOWN)
    found.sort(key=lambda entry: (entry.since_s, entry.entity))
    late_s = now_s - reached_s
    return Heard(
        rows=tuple(_row(entry) for entry in found[:SHOWN]),
        missing=sum(count for state, count in states if state in MISSING),
        known=sum(count for _, count in states),
        late=sum(count for state, count in states if state is Freshness.LATE),
        behind=span(late_s) if late_s > BEHIND_S else "",
    )


def _row(entry: Coverage) -> UnheardRow:
    why = entry.outcome or ("" if entry.heard_s is None else "nothing since then")
    if entry.state is Freshness.FROZEN:
        why = entry.outcome or "its figures stand still"
    name = f"{kind_word(entry.entity)} {name_of(entry.entity)}"
    return UnheardRow(name, FRESHNESS[entry.state], entry.since_s, why)
