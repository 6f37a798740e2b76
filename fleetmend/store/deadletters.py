"""Dead letters: the newest are kept, all are counted."""

from sqlalchemy import select

from fleetmend.ports.deadletters import DeadLetter
from fleetmend.store.codec import plain
from fleetmend.store.db import Db
from fleetmend.store.tables import dead_letter_counts, dead_letters

PAYLOAD_BYTES_MAX = 4096
_TEXT_CHARS_MAX = 1000
_SOURCE_CHARS_MAX = 100


class DeadLetterBox:
    """The table; most callers use `StoreDeadLetters`, which opens its own transaction."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, letter: DeadLetter) -> None:
        """Keep it (payload cut at 4 KiB), count it, drop the oldest beyond `dead_letters_max`."""
        source = plain(letter.source, _SOURCE_CHARS_MAX)
        self._db.run(
            dead_letters.insert().values(
                at_s=letter.at_s,
                source=source,
                place=plain(letter.where, _TEXT_CHARS_MAX),
                error=plain(letter.error, _TEXT_CHARS_MAX),
                payload=letter.payload[:PAYLOAD_BYTES_MAX],
            )
        )
        count = dead_letter_counts.c.count
        self._db.run(
            self._db.insert(dead_letter_counts)
            .values(source=source, count=1)
            .on_conflict_do_update(index_elements=["source"], set_={"count": count + 1})
        )
        newest_dropped = (
            select(dead_letters.c.seq)
            .order_by(dead_letters.c.seq.desc())
            .offset(self._db.settings.dead_letters_max)
            .limit(1)
            .scalar_subquery()
        )
        self._db.run(dead_letters.delete().where(dead_letters.c.seq <= newest_dropped))

    def page(self, limit: int) -> list[DeadLetter]:
        """The newest, newest first."""
        rows = self._db.rows(
            select(dead_letters).order_by(dead_letters.c.seq.desc()).limit(max(1, limit))
        )
        return [
            DeadLetter(
                at_s=row.at_s,
                source=row.source,
                where=row.place,
                error=row.error,
                payload=row.payload,
            )
            for row in rows
        ]

    def counts(self) -> dict[str, int]:
        """How many ever came from each source."""
        table = dead_letter_counts
        rows = self._db.rows(select(table.c.source, table.c.count).order_by(table.c.source))
        return {row[0]: row[1] for row in rows}
