"""The outbox: what must leave the platform, written in the transaction that decided it.

A delivery loop takes rows that are due, sends them and says what became of them. Rows of one
receiver and lane leave in the order in which they were put: a later one waits for the earlier.
Delivery is at least once; the id stays the same, so that receivers can tell.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, exists, func, select

from fleetmend.store.codec import plain
from fleetmend.store.db import AnyRow, Db
from fleetmend.store.tables import outbox

_DETAIL_CHARS_MAX = 500


class OutboxState(StrEnum):
    """What became of a row."""

    PENDING = "pending"
    DELIVERED = "delivered"
    REJECTED = "rejected"
    """Given up: a dead letter, until somebody replays it."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """One thing to be delivered."""

    id: str
    kind: str
    """What the body is: `notification`, `action` ..."""
    receiver: str
    lane: str
    """Rows of one receiver and lane keep their order; empty means that order does not matter."""
    body: bytes
    state: OutboxState
    at_s: float
    due_s: float
    attempts: int
    """Attempts that failed so far."""
    detail: str
    """What the last attempt said."""


class Outbox:
    """Written by whoever decides, emptied by delivery loops."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(
        self, *, id: str, kind: str, receiver: str, body: bytes, at_s: float, lane: str = ""
    ) -> bool:
        """Have it delivered from `at_s` on; False when this id was put before."""
        insert = self._db.insert(outbox).values(
            id=id,
            kind=kind,
            receiver=receiver,
            lane=lane,
            body=body,
            state=OutboxState.PENDING.value,
            at_s=at_s,
            due_s=at_s,
            attempts=0,
            detail="",
        )
        return self._db.run(insert.on_conflict_do_nothing(index_elements=["id"])) == 1

    def get(self, row_id: str) -> OutboxRow | None:
        """One row."""
        row = self._db.row(select(outbox).where(outbox.c.id == row_id))
        return None if row is None else _row(row)

    def due(
        self,
        now_s: float,
        limit: int,
        *,
        kind: str | None = None,
        receiver: str | None = None,
        hold_s: float = 0.0,
    ) -> list[OutboxRow]:
        """Up to `limit` rows that may leave now, first put first, at most one of each lane.

        With `hold_s` they are not due again for so long: two delivery loops do not take the same
        rows, and those of a loop that died come back.
        """
        earlier = outbox.alias("earlier")
        blocked = exists().where(
            earlier.c.kind == outbox.c.kind,
            earlier.c.receiver == outbox.c.receiver,
            earlier.c.lane == outbox.c.lane,
            earlier.c.state == OutboxState.PENDING.value,
            earlier.c.seq < outbox.c.seq,
        )
        query = select(outbox).where(
            outbox.c.state == OutboxState.PENDING.value,
            outbox.c.due_s <= now_s,
            ~and_(outbox.c.lane != "", blocked),
        )
        if kind is not None:
            query = query.where(outbox.c.kind == kind)
        if receiver is not None:
            query = query.where(outbox.c.receiver == receiver)
        query = query.order_by(outbox.c.seq).limit(limit)
        if hold_s > 0.0:
            query = query.with_for_update(skip_locked=True, of=outbox)
        rows = [_row(row) for row in self._db.rows(query)]
        if hold_s > 0.0:
            for row in rows:
                self.hold(row.id, now_s + hold_s)
        return rows

    def hold(self, row_id: str, due_s: float) -> None:
        """Not before `due_s`; does not count as an attempt."""
        self._change(row_id, due_s=due_s)

    def hold_all(self, *, kind: str, receiver: str, due_s: float) -> None:
        """No pending row for this receiver before `due_s`."""
        self._db.run(
            outbox.update()
            .where(
                outbox.c.kind == kind,
                outbox.c.receiver == receiver,
                outbox.c.state == OutboxState.PENDING.value,
                outbox.c.due_s < due_s,
            )
            .values(due_s=due_s)
        )

    def delivered(self, row_id: str, at_s: float) -> None:
        """The receiver has it."""
        self._change(row_id, state=OutboxState.DELIVERED.value, due_s=at_s, detail="")

    def retry(self, row_id: str, due_s: float, detail: str) -> None:
        """An attempt failed; the next one at `due_s`."""
        self._change(
            row_id,
            due_s=due_s,
            attempts=outbox.c.attempts + 1,
            detail=plain(detail, _DETAIL_CHARS_MAX),
        )

    def reject(self, row_id: str, detail: str) -> None:
        """Given up: kept for people, and out of the way of its lane."""
        self._change(
            row_id,
            state=OutboxState.REJECTED.value,
            attempts=outbox.c.attempts + 1,
            detail=plain(detail, _DETAIL_CHARS_MAX),
        )

    def rejected(self, limit: int = 100) -> list[OutboxRow]:
        """Rows given up, newest first."""
        rows = self._db.rows(
            select(outbox)
            .where(outbox.c.state == OutboxState.REJECTED.value)
            .order_by(outbox.c.seq.desc())
            .limit(limit)
        )
        return [_row(row) for row in rows]

    def replay(self, row_id: str, due_s: float) -> bool:
        """Try a row that was given up again, from the first attempt; False when it was not."""
        statement = (
            outbox.update()
            .where(outbox.c.id == row_id, outbox.c.state == OutboxState.REJECTED.value)
            .values(state=OutboxState.PENDING.value, due_s=due_s, attempts=0)
        )
        return self._db.run(statement) == 1

    def waiting_for(self, kind: str) -> list[str]:
        """Receivers with pending rows of this kind, in order of name."""
        rows = self._db.rows(
            select(outbox.c.receiver)
            .where(outbox.c.kind == kind, outbox.c.state == OutboxState.PENDING.value)
            .distinct()
            .order_by(outbox.c.receiver)
        )
        return [row[0] for row in rows]

    def counts(self) -> dict[OutboxState, int]:
        """How many rows are in each state."""
        rows = self._db.rows(select(outbox.c.state, func.count()).group_by(outbox.c.state))
        return {OutboxState(state): count for state, count in rows}

    def forget_delivered(self, before_s: float, *, kind: str) -> int:
        """Drop rows of this kind that were delivered before `before_s`; how many there were. Their
        ids could be put again, so only for kinds whose writers remember by themselves."""
        return self._db.run(
            outbox.delete().where(
                outbox.c.kind == kind,
                outbox.c.state == OutboxState.DELIVERED.value,
                outbox.c.due_s < before_s,
            )
        )

    def _change(self, row_id: str, **values: Any) -> None:  # columns of several types
        self._db.run(outbox.update().where(outbox.c.id == row_id).values(**values))


def _row(row: AnyRow) -> OutboxRow:
    return OutboxRow(
        id=row.id,
        kind=row.kind,
        receiver=row.receiver,
        lane=row.lane,
        body=row.body,
        state=OutboxState(row.state),
        at_s=row.at_s,
        due_s=row.due_s,
        attempts=row.attempts,
        detail=row.detail,
    )
