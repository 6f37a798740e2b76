"""The audit log and the state of its chain as JSON."""

from dataclasses import dataclass

from fastapi import APIRouter

from console.context import Console
from console.live.chain import ChainState
from console.pages.audit import audit_page
from fleetmend.model.audit import AuditRecord


@dataclass(frozen=True, slots=True)
class AuditList:
    """A page, newest first; `older` goes into `before` for the one that follows, 0 on the last."""

    items: tuple[AuditRecord, ...]
    older: int


def routes(console: Console) -> APIRouter:
    """Reads only."""
    router = APIRouter(tags=["audit"])

    @router.get("/audit")
    def audit(about: str = "", before: int = 0, limit: int = 50) -> AuditList:
        """Records about one thing, or all."""
        with console.deps.store.reading() as tx:
            page = audit_page(tx, about=about, before=before, limit=max(1, min(limit, 500)))
        return AuditList(page.records, page.older)

    @router.get("/audit/chain")
    def chain() -> ChainState:
        """How far the chain has been verified, and its first breach."""
        return console.chain.state

    return router
