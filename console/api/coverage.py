"""The coverage ledger as JSON: what should be heard, and how well it is."""

from dataclasses import dataclass

from fastapi import APIRouter

from console.context import Console
from fleetmend.model.coverage import Coverage, Freshness
from fleetmend.model.entities import EntityKind
from fleetmend.store import CoverageFilter

PAGE_MAX = 200


@dataclass(frozen=True, slots=True)
class CoverageList:
    """A page in order of entity; `next` goes into `after` for the one that follows, empty on the
    last."""

    items: tuple[Coverage, ...]
    next: str
    reached_s: float | None
    """Event time up to which the ledger is complete; None: it was never kept. When it is old nobody
    keeps it, and what is fresh here need not be."""
    counts: dict[EntityKind, dict[Freshness, int]]
    """Entities of the whole fleet by kind and state, whatever was asked for."""


def routes(console: Console) -> APIRouter:
    """Reads only."""
    router = APIRouter(tags=["coverage"])

    @router.get("/coverage")
    def coverage(
        entity: str = "",
        state: Freshness | None = None,
        kind: EntityKind | None = None,
        pool: str = "",
        after: str = "",
        limit: int = 50,
    ) -> CoverageList:
        """Entities with the signals that are expected of each; at most 200 a page. `entity` is an
        id or key, of a node also what is in it."""
        bounded = max(1, min(limit, PAGE_MAX))
        wanted = CoverageFilter(entity=entity, state=state, kind=kind, pool=pool)
        with console.deps.store.reading() as tx:
            found = tx.coverage.page(wanted, after=after, limit=bounded + 1)
            reached_s, counts = tx.coverage.reached_s(), tx.coverage.counts()
        shown = tuple(found[:bounded])
        more = shown[-1].entity if len(found) > bounded else ""
        return CoverageList(shown, more, reached_s, counts)

    return router
