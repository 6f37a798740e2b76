"""What alerting remembers of its receivers: what each was last told, and who wants no more."""

from dataclasses import dataclass

from sqlalchemy import select

from fleetmend.model.incidents import Severity
from fleetmend.model.notifications import NotifyReason
from fleetmend.store.codec import Codec, plain
from fleetmend.store.db import Db
from fleetmend.store.tables import notices, receivers_off

_DETAIL_CHARS_MAX = 500


@dataclass(frozen=True, slots=True)
class Notice:
    """What a receiver was last told about an incident."""

    version: int
    """Of the incident."""
    reason: NotifyReason
    severity: Severity
    cause: str
    """Fault class and entity of the first cause, or empty."""
    closed: bool
    """It was told that the incident is over."""
    at_s: float
    approval: str = ""
    """The plan and version for which a decision was asked last."""


_NOTICE = Codec(Notice)


@dataclass(frozen=True, slots=True)
class ReceiverOff:
    """A receiver that asked to be left alone."""

    receiver: str
    target: str
    """Digest of the address that said so: another address is another receiver."""
    at_s: float
    detail: str


class Notices:
    """Kept in the transaction that puts the notification into the outbox."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def get(self, receiver: str, incident: str) -> Notice | None:
        """What `receiver` was last told about `incident`; None when nothing."""
        row = self._db.row(
            select(notices.c.body).where(
                notices.c.receiver == receiver, notices.c.incident == incident
            )
        )
        return None if row is None else _NOTICE.decode(row[0])

    def put(self, receiver: str, incident: str, notice: Notice) -> None:
        """Replace it. The incident must be held."""
        insert = self._db.insert(notices).values(
            receiver=receiver, incident=incident, body=_NOTICE.encode(notice)
        )
        self._db.run(
            insert.on_conflict_do_update(
                index_elements=["receiver", "incident"], set_={"body": insert.excluded.body}
            )
        )


class ReceiversOff:
    """Receivers that answered 410, until somebody switches them on again."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, off: ReceiverOff) -> None:
        """Leave it alone from now on."""
        insert = self._db.insert(receivers_off).values(
            receiver=off.receiver,
            target=off.target,
            at_s=off.at_s,
            detail=plain(off.detail, _DETAIL_CHARS_MAX),
        )
        changed = {name: insert.excluded[name] for name in ("target", "at_s", "detail")}
        self._db.run(insert.on_conflict_do_update(index_elements=["receiver"], set_=changed))

    def all(self) -> list[ReceiverOff]:
        """In order of name."""
        rows = self._db.rows(select(receivers_off).order_by(receivers_off.c.receiver))
        return [ReceiverOff(row.receiver, row.target, row.at_s, row.detail) for row in rows]

    def remove(self, receiver: str) -> bool:
        """Switch it on again; False when it was on."""
        return self._db.run(receivers_off.delete().where(receivers_off.c.receiver == receiver)) == 1
