"""The coverage ledger as a table: the newest entry of each entity.

Written by `fleetmend.coveragebook`, read by `fleetmend coverage` and the console.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import func, or_, select

from fleetmend.model.coverage import LEDGER, Coverage, Freshness
from fleetmend.model.entities import EntityKind, key_of, kind_of
from fleetmend.store.codec import Codec, plain
from fleetmend.store.db import Db
from fleetmend.store.tables import coverage

_ENTRY = Codec(Coverage)

PAGE_MAX = 500


@dataclass(frozen=True, slots=True)
class CoverageFilter:
    """Which entries are wanted; every empty field wants all."""

    entity: str = ""
    """An entity's id or key; of a node also what is in it."""
    state: Freshness | None = None
    kind: EntityKind | None = None
    pool: str = ""


class CoverageEntries:
    """One row for each entity that is expected to be heard, and one for the ledger itself."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, entries: Iterable[Coverage]) -> None:
        """Keep those that are no older than what is held; what is gone is dropped. The same entry
        again changes nothing."""
        for entry in entries:
            entity = plain(entry.entity)
            if entry.gone:
                row = (coverage.c.entity == entity) & (coverage.c.at_s <= entry.at_s)
                self._db.run(coverage.delete().where(row))
                continue
            insert = self._db.insert(coverage).values(
                entity=entity,
                key=plain(key_of(entry.entity)),
                kind=kind_of(entry.entity).value,
                pool=plain(entry.pool),
                node=plain(entry.node),
                state=entry.state.value,
                at_s=entry.at_s,
                body=_ENTRY.encode(entry),
            )
            names = ("pool", "node", "state", "at_s", "body")
            self._db.run(
                insert.on_conflict_do_update(
                    index_elements=["entity"],
                    set_={name: insert.excluded[name] for name in names},
                    where=coverage.c.at_s <= insert.excluded.at_s,
                )
            )

    def page(
        self, wanted: CoverageFilter | None = None, *, after: str = "", limit: int = 50
    ) -> list[Coverage]:
        """In order of id, from behind the entity `after`; at most 500."""
        query = select(coverage.c.body).where(coverage.c.entity != LEDGER)
        if wanted is not None:
            if wanted.entity:
                name = plain(wanted.entity)
                columns = (coverage.c.entity, coverage.c.key, coverage.c.node)
                query = query.where(or_(*(column == name for column in columns)))
            if wanted.state is not None:
                query = query.where(coverage.c.state == wanted.state.value)
            if wanted.kind is not None:
                query = query.where(coverage.c.kind == wanted.kind.value)
            if wanted.pool:
                query = query.where(coverage.c.pool == plain(wanted.pool))
        if after:
            query = query.where(coverage.c.entity > plain(after))
        query = query.order_by(coverage.c.entity).limit(max(1, min(limit, PAGE_MAX)))
        return [_ENTRY.decode(row[0]) for row in self._db.rows(query)]

    def counts(self) -> dict[EntityKind, dict[Freshness, int]]:
        """How many entities of each kind are in each state."""
        rows = self._db.rows(
            select(coverage.c.kind, coverage.c.state, func.count())
            .where(coverage.c.entity != LEDGER)
            .group_by(coverage.c.kind, coverage.c.state)
        )
        found: dict[EntityKind, dict[Freshness, int]] = {}
        for kind, state, count in sorted(tuple(row) for row in rows):
            found.setdefault(EntityKind(kind), {})[Freshness(state)] = count
        return found

    def reached_s(self) -> float | None:
        """The event time up to which the ledger is complete; None before its first word. An old
        one means that nobody keeps the ledger: then nothing in it can be relied on."""
        row = self._db.row(select(coverage.c.at_s).where(coverage.c.entity == LEDGER))
        return None if row is None else float(row[0])
