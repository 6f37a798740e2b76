"""Approvals and verdicts: what people and admission said about a version of a plan."""

from sqlalchemy import select

from fleetmend.errors import StoreConflict
from fleetmend.model.plans import Approval, Verdict
from fleetmend.store.codec import Codec
from fleetmend.store.db import Db
from fleetmend.store.tables import approvals, verdicts

_APPROVAL = Codec(Approval)
_VERDICT = Codec(Verdict)


class AlreadyDecided(StoreConflict):
    """Somebody decided on this version of the plan first; `earlier` is that decision."""

    def __init__(self, earlier: Approval) -> None:
        said = "granted" if earlier.granted else "denied"
        super().__init__(
            f"plan {earlier.plan} version {earlier.plan_version} was {said} by {earlier.by}"
        )
        self.earlier = earlier


class Approvals:
    """One decision for each version of a plan; the first wins, whatever its channel."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def decide(self, approval: Approval) -> Approval:
        """Keep the decision. Raises AlreadyDecided when there is one (the very same again is no
        conflict). The plan must be held."""
        kept = self._db.run(
            self._db.insert(approvals)
            .values(
                plan=approval.plan,
                plan_version=approval.plan_version,
                body=_APPROVAL.encode(approval),
            )
            .on_conflict_do_nothing(index_elements=["plan", "plan_version"])
        )
        held = self.get(approval.plan, approval.plan_version)
        if held is None:
            raise StoreConflict("a decision on this plan vanished meanwhile", fix="Try again.")
        if not kept and held != approval:
            raise AlreadyDecided(held)
        return held

    def get(self, plan_id: str, version: int) -> Approval | None:
        """The decision on this version."""
        row = self._db.row(
            select(approvals.c.body).where(
                approvals.c.plan == plan_id, approvals.c.plan_version == version
            )
        )
        return None if row is None else _APPROVAL.decode(row[0])


class Verdicts:
    """Verdicts of admission. One that repeats the names of the last only refreshes it, so waiting
    for an hour leaves one row and not thousands."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(self, verdict: Verdict) -> bool:
        """Keep it; True when it names other reasons or waivers than the last one of this step."""
        table = verdicts
        words = _words(verdict)
        body = _VERDICT.encode(verdict)
        last = self._db.row(
            select(table.c.seq, table.c.words)
            .where(
                table.c.plan == verdict.plan,
                table.c.plan_version == verdict.plan_version,
                table.c.step == verdict.step,
            )
            .order_by(table.c.seq.desc())
            .limit(1)
        )
        if last is not None and last.words == words:
            self._db.run(table.update().where(table.c.seq == last.seq).values(body=body))
            return False
        self._db.run(
            table.insert().values(
                plan=verdict.plan,
                plan_version=verdict.plan_version,
                step=verdict.step,
                words=words,
                body=body,
            )
        )
        return True

    def for_plan(self, plan_id: str) -> list[Verdict]:
        """Those on every version of a plan, in the order in which they were given."""
        rows = self._db.rows(
            select(verdicts.c.body).where(verdicts.c.plan == plan_id).order_by(verdicts.c.seq)
        )
        return [_VERDICT.decode(row[0]) for row in rows]


def _words(verdict: Verdict) -> str:
    refusals = ",".join(sorted({reason.refusal.value for reason in verdict.reasons}))
    return f"{refusals}|{','.join(sorted(verdict.waivers))}"
