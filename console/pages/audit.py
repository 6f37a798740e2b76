"""The audit log: newest first, whole as JSONL, with what is known of its chain."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, StreamingResponse

from console.context import Console
from console.present.timeline import audit_text
from console.words import VERB, Word
from fleetmend.model.audit import AuditRecord
from fleetmend.store import Transaction

EXPORT_STEP = 1000


@dataclass(frozen=True, slots=True)
class RecordRow:
    """One record as the table shows it."""

    seq: int
    at_s: float
    actor: str
    word: Word
    subject: str
    href: str
    text: str
    hash: str


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Records, newest first; `older` is the cursor of the page after, 0 on the last."""

    records: tuple[AuditRecord, ...]
    older: int


def routes(console: Console) -> APIRouter:
    """`/audit`, `/audit.jsonl`."""
    router = APIRouter(include_in_schema=False)
    size = console.deps.settings.page_size

    @router.get("/audit")
    def audit(request: Request, about: str = "", before: int = 0) -> HTMLResponse:
        with console.deps.store.reading() as tx:
            page = audit_page(tx, about=about, before=before, limit=size)
            rows = [_row(tx, record) for record in page.records]
        return console.pages.page(
            request,
            "audit.html",
            records=rows,
            about=about,
            before=before,
            older=page.older,
            chain=console.chain.state,
        )

    @router.get("/audit.jsonl")
    def export(about: str = "") -> StreamingResponse:
        return StreamingResponse(
            audit_lines(console, about),
            media_type="application/jsonl",
            headers={"content-disposition": 'attachment; filename="fleetmend-audit.jsonl"'},
        )

    return router


def audit_page(tx: Transaction, *, about: str, before: int, limit: int) -> AuditPage:
    """Records before `before` (0: from the end), newest first. `about` narrows them to one
    incident, plan, session or entity."""
    end = before or tx.audit.head() + 1
    if about:
        found = tx.audit.about(about, before_seq=end, limit=limit + 1)
        shown = found[-limit:]
        older = shown[0].seq if len(found) > limit else 0
    else:
        shown = tx.audit.page(max(0, end - 1 - limit), limit)
        shown = [r for r in shown if r.seq < end]
        older = shown[0].seq if shown and shown[0].seq > 1 else 0
    return AuditPage(tuple(reversed(shown)), older)


def audit_lines(console: Console, about: str) -> Iterator[str]:
    """Every record as a line of JSON, in order, read in steps: a long log needs no memory."""
    seq = 0
    while True:
        with console.deps.store.reading() as tx:
            if about:
                records = tx.audit.about(about, after_seq=seq, limit=EXPORT_STEP)
            else:
                records = tx.audit.page(seq, EXPORT_STEP)
        if not records:
            return
        yield from map(_line, records)
        seq = records[-1].seq


def _line(record: AuditRecord) -> str:
    return json.dumps(asdict(record), sort_keys=True) + "\n"


def _row(tx: Transaction, record: AuditRecord) -> RecordRow:
    return RecordRow(
        seq=record.seq,
        at_s=record.at_s,
        actor=record.actor,
        word=VERB[record.verb],
        subject=record.subject,
        href=_href(tx, record.subject),
        text=audit_text(record),
        hash=record.hash,
    )


def _href(tx: Transaction, subject: str) -> str:
    """The page of what a record is about, when it has one."""
    if tx.incidents.get(subject) is not None:
        return f"/incidents/{subject}"
    session = tx.sessions.get(subject)
    if session is not None:
        return f"/incidents/{session.incident}#plan"
    plan = tx.plans.get(subject)
    return f"/incidents/{plan.incident}#plan" if plan is not None else ""
