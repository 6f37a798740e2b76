"""What folds leave here: snapshots of their state, and how far consumers have read."""

from sqlalchemy import select

from fleetmend.ports.snapshots import Snapshot
from fleetmend.store.codec import Codec
from fleetmend.store.db import Db
from fleetmend.store.tables import positions, snapshots

_POSITIONS = Codec(dict[str, int])


class Snapshots:
    """The newest few of each fold."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def save(self, snapshot: Snapshot) -> None:
        """Keep it (the same tick again replaces it) and drop the oldest beyond
        `snapshots_kept`."""
        insert = self._db.insert(snapshots).values(
            fold=snapshot.fold,
            tick=snapshot.tick,
            blob=snapshot.blob,
            saved_at_s=self._db.clock.now_s(),
        )
        changed = {"blob": insert.excluded.blob, "saved_at_s": insert.excluded.saved_at_s}
        self._db.run(insert.on_conflict_do_update(index_elements=["fold", "tick"], set_=changed))
        oldest_dropped = (
            select(snapshots.c.tick)
            .where(snapshots.c.fold == snapshot.fold)
            .order_by(snapshots.c.tick.desc())
            .offset(self._db.settings.snapshots_kept)
            .limit(1)
            .scalar_subquery()
        )
        self._db.run(
            snapshots.delete().where(
                snapshots.c.fold == snapshot.fold, snapshots.c.tick <= oldest_dropped
            )
        )

    def latest(self, fold: str) -> Snapshot | None:
        """The one with the highest tick."""
        row = self._db.row(
            select(snapshots)
            .where(snapshots.c.fold == fold)
            .order_by(snapshots.c.tick.desc())
            .limit(1)
        )
        return None if row is None else Snapshot(fold=row.fold, tick=row.tick, blob=row.blob)

    def ticks(self, fold: str) -> list[int]:
        """Ticks of the snapshots kept, newest first."""
        rows = self._db.rows(
            select(snapshots.c.tick)
            .where(snapshots.c.fold == fold)
            .order_by(snapshots.c.tick.desc())
        )
        return [row.tick for row in rows]


class Positions:
    """Read positions of consumers that keep their results here, in the same transaction."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, consumer: str) -> dict[str, int]:
        """`topic/partition` -> next offset; empty when it never read."""
        row = self._db.row(select(positions.c.positions).where(positions.c.consumer == consumer))
        return {} if row is None else _POSITIONS.decode(row[0])

    def set(self, consumer: str, read_to: dict[str, int]) -> None:
        """Replace them."""
        insert = self._db.insert(positions).values(
            consumer=consumer,
            positions=_POSITIONS.encode(read_to),
            updated_at_s=self._db.clock.now_s(),
        )
        changed = {
            "positions": insert.excluded.positions,
            "updated_at_s": insert.excluded.updated_at_s,
        }
        self._db.run(insert.on_conflict_do_update(index_elements=["consumer"], set_=changed))
