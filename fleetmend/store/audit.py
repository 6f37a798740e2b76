"""The audit log: one hash-chained sequence that only grows.

Whoever appends first locks the end of the chain and keeps the lock until its transaction ends, so
append last: everybody else waits. Triggers refuse to change or delete a record, and to move the end
back.
"""

from dataclasses import replace

from sqlalchemy import or_, select

from fleetmend.errors import StoreError
from fleetmend.model.audit import GENESIS, AuditRecord, AuditVerb, ChainHead, record_hash
from fleetmend.store.codec import clean, plain
from fleetmend.store.db import AnyRow, Db
from fleetmend.store.tables import audit, audit_head, plans, sessions

PAGE_MAX = 10_000
_TEXT_CHARS_MAX = 2000

Detail = dict[str, str | int | float | bool | None]


class Audit:
    """Appended to by everybody who decides or acts; read by the console and `audit verify`."""

    def __init__(self, db: Db, key: bytes) -> None:
        """`key` goes into every hash; empty for none."""
        self._db = db
        self._key = key

    def append(
        self, *, at_s: float, actor: str, verb: AuditVerb, subject: str, detail: Detail
    ) -> AuditRecord:
        """The next link of the chain. Texts are cut at 2,000 characters."""
        head = self._db.row(
            select(audit_head.c.seq, audit_head.c.hash)
            .where(audit_head.c.id == 1)
            .with_for_update()
        )
        if head is None:
            raise StoreError("the audit chain has no end", fix="Run `fleetmend audit verify`.")
        unhashed = AuditRecord(
            seq=head.seq + 1,
            at_s=float(at_s),
            actor=plain(actor, _TEXT_CHARS_MAX),
            verb=verb,
            subject=plain(subject, _TEXT_CHARS_MAX),
            detail={plain(key, 100): _scalar(value) for key, value in detail.items()},
            prev_hash=head.hash,
        )
        record = replace(unhashed, hash=record_hash(unhashed, self._key))
        self._db.run(
            audit.insert().values(
                seq=record.seq,
                at_s=record.at_s,
                actor=record.actor,
                verb=record.verb.value,
                subject=record.subject,
                detail=record.detail,
                prev_hash=record.prev_hash,
                hash=record.hash,
            )
        )
        self._db.run(
            audit_head.update().where(audit_head.c.id == 1).values(seq=record.seq, hash=record.hash)
        )
        return record

    def page(self, after_seq: int, limit: int) -> list[AuditRecord]:
        """Up to `limit` records (at most 10,000) that follow `after_seq`, in order."""
        rows = self._db.rows(
            select(audit)
            .where(audit.c.seq > after_seq)
            .order_by(audit.c.seq)
            .limit(max(1, min(limit, PAGE_MAX)))
        )
        return [_record(row) for row in rows]

    def head(self) -> int:
        """The number of the last record; 0 when there is none."""
        return self._db.number(select(audit_head.c.seq).where(audit_head.c.id == 1))

    def end(self) -> ChainHead:
        """The stored end of the chain; that of an empty chain when there is none."""
        row = self._db.row(select(audit_head.c.seq, audit_head.c.hash).where(audit_head.c.id == 1))
        return ChainHead(0, GENESIS) if row is None else ChainHead(row.seq, row.hash)

    def all(self) -> list[AuditRecord]:
        """Every record in order."""
        return [_record(row) for row in self._db.rows(select(audit).order_by(audit.c.seq))]

    def about(
        self, subject: str, *, after_seq: int = 0, before_seq: int | None = None, limit: int = 1000
    ) -> list[AuditRecord]:
        """Records whose subject is `subject` or lies below it (`demo/node` finds
        `demo/node/n-1`); for an incident those of its plans and sessions too. In order: the first
        `limit` (at most 10,000) that follow `after_seq`, or, with `before_seq`, the last before
        it."""
        stem = subject.rstrip("/")
        found = select(audit).where(
            or_(
                audit.c.subject == stem,
                audit.c.subject.startswith(stem + "/", autoescape=True),
                audit.c.subject.in_(select(plans.c.id).where(plans.c.incident == stem)),
                audit.c.subject.in_(select(sessions.c.id).where(sessions.c.incident == stem)),
            ),
            audit.c.seq > after_seq,
        )
        bound = max(1, min(limit, PAGE_MAX))
        if before_seq is None:
            return [_record(row) for row in self._db.rows(found.order_by(audit.c.seq).limit(bound))]
        last = found.where(audit.c.seq < before_seq).order_by(audit.c.seq.desc()).limit(bound)
        return [_record(row) for row in reversed(self._db.rows(last))]


def _scalar(value: str | int | float | bool | None) -> str | int | float | bool | None:
    cleaned = clean(value)
    if isinstance(cleaned, str):
        return cleaned[:_TEXT_CHARS_MAX]
    return value


def _record(row: AnyRow) -> AuditRecord:
    return AuditRecord(
        seq=row.seq,
        at_s=row.at_s,
        actor=row.actor,
        verb=AuditVerb(row.verb),
        subject=row.subject,
        detail=row.detail,
        prev_hash=row.prev_hash,
        hash=row.hash,
    )
