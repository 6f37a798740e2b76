"""Sessions: a plan being carried out, under a lease and a rising fence.

The executor claims a session, renews its lease while it works, and loses it when another worker
claims it after the lease has run out: from then on everything it writes here raises FenceLost. Two
sessions never hold one node: a primary key sees to it, whatever the processes do.
"""

from collections.abc import Collection
from dataclasses import replace
from typing import Any

from sqlalchemy import or_, select

from fleetmend.errors import FenceLost, StoreConflict, StoreError
from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.model.events import event_id
from fleetmend.model.plans import ENDED_SESSIONS, Plan, Session, SessionState, StepRecord, StepState
from fleetmend.store.codec import Codec, plain
from fleetmend.store.db import AnyRow, Db
from fleetmend.store.tables import holds, sessions

_STEPS = Codec(tuple[StepRecord, ...])

_REASON_CHARS_MAX = 500


def nodes_held_by(plan: Plan) -> tuple[EntityId, ...]:
    """What a session of this plan holds, in order of id: every node that a step treats, else the
    plan's failure domain when that is a node, else its entity."""
    nodes = {step.target for step in plan.steps if kind_of(step.target) is EntityKind.NODE}
    if nodes:
        return tuple(sorted(nodes))
    return (plan.domain if kind_of(plan.domain) is EntityKind.NODE else plan.entity,)


class Sessions:
    """Opened by remediation's intake, carried on by executors, read by the console."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def open(self, plan: Plan, *, state: SessionState, at_s: float) -> Session:
        """A new session of a plan that is held, unclaimed, all steps pending; it holds the plan's
        nodes. Raises StoreConflict when another session holds one of them."""
        pending = tuple(StepRecord(step.index, StepState.PENDING, at_s) for step in plan.steps)
        back = tuple(StepRecord(step.index, StepState.PENDING, at_s) for step in plan.give_back)
        session = Session(
            id="s-" + event_id(plan.id, plan.version, at_s),
            plan=plan.id,
            plan_version=plan.version,
            incident=plan.incident,
            entity=plan.entity,
            state=state,
            fence=0,
            worker="",
            lease_until_s=0.0,
            steps=pending,
            opened_at_s=at_s,
            updated_at_s=at_s,
            give_back=back,
        )
        nodes = nodes_held_by(plan)
        self._refuse_held(nodes)
        self._db.run(
            sessions.insert().values(
                id=session.id,
                plan=session.plan,
                plan_version=session.plan_version,
                incident=session.incident,
                entity=session.entity,
                opened_at_s=at_s,
                **_columns(session),
            )
        )
        self._take(session, nodes)
        return session

    def get(self, session_id: str) -> Session | None:
        """As it is now."""
        row = self._db.row(select(sessions).where(sessions.c.id == session_id))
        return None if row is None else _session(row)

    def for_incident(self, incident_id: str) -> list[Session]:
        """All sessions of an incident, oldest first."""
        rows = self._db.rows(
            select(sessions)
            .where(sessions.c.incident == incident_id)
            .order_by(sessions.c.opened_at_s, sessions.c.id)
        )
        return [_session(row) for row in rows]

    def active(self) -> list[Session]:
        """All sessions that are not over, oldest first."""
        rows = self._db.rows(
            select(sessions)
            .where(sessions.c.active)
            .order_by(sessions.c.opened_at_s, sessions.c.id)
        )
        return [_session(row) for row in rows]

    def since(self, at_s: float) -> list[Session]:
        """All that are not over or changed at `at_s` or later, oldest first: what admission counts
        as taken out, those given back since included."""
        rows = self._db.rows(
            select(sessions)
            .where(or_(sessions.c.active, sessions.c.updated_at_s >= at_s))
            .order_by(sessions.c.opened_at_s, sessions.c.id)
        )
        return [_session(row) for row in rows]

    def holding(self, nodes: Collection[EntityId], *, but: str = "") -> Session | None:
        """The session that holds one of these nodes, `but` a session of this id; of several the
        one with the first node."""
        row = self._db.row(
            select(sessions)
            .join(holds, holds.c.session == sessions.c.id)
            .where(holds.c.node.in_(nodes), sessions.c.id != but)
            .order_by(holds.c.node)
            .limit(1)
        )
        return None if row is None else _session(row)

    def hold(self, session: Session, nodes: Collection[EntityId]) -> None:
        """Hold these nodes (again). Raises StoreConflict when another session holds one of
        them."""
        self._refuse_held(nodes, but=session.id)
        rows = self._db.rows(select(holds.c.node).where(holds.c.session == session.id))
        self._take(session, set(nodes) - {EntityId(row.node) for row in rows})

    def let_go(self, session: Session) -> None:
        """Hold no node any more: for a session that goes on without being allowed to act."""
        self._db.run(holds.delete().where(holds.c.session == session.id))

    def claim(self, worker: str, *, now_s: float, lease_s: float) -> Session | None:
        """The active session that has been without a worker for longest, now this worker's until
        `now_s + lease_s`, with a higher fence; None when every active session has a worker."""
        row = self._db.row(
            select(sessions)
            .where(sessions.c.active, sessions.c.lease_until_s <= now_s)
            .order_by(sessions.c.lease_until_s, sessions.c.opened_at_s, sessions.c.id)
            .limit(1)
            .with_for_update(skip_locked=True)
        )
        if row is None:
            return None
        held = _session(row)
        return self._write(
            replace(held, worker=worker, fence=held.fence + 1, lease_until_s=now_s + lease_s)
        )

    def renew(self, session: Session, *, now_s: float, lease_s: float) -> Session:
        """The same lease for longer; `lease_s=0` hands the session back at once. Returns it as it
        is now. Raises FenceLost when another worker has it."""
        held = self._fenced(session)
        return self._write(replace(held, lease_until_s=now_s + lease_s))

    def advance(
        self, session: Session, *, state: SessionState, reason: str, at_s: float
    ) -> Session:
        """The session in another state. Raises FenceLost when the fence differs, StoreConflict
        when somebody changed the state since `session` was read (a person's cancel must not be
        overwritten). Whether the change makes sense is for remediation to say."""
        held = self._fenced(session)
        if held.state is not session.state:
            raise StoreConflict(
                f"session {held.id} is {held.state.value} by now, not {session.state.value}",
                fix="Read it again.",
            )
        words = plain(reason, _REASON_CHARS_MAX)
        if state in ENDED_SESSIONS:
            self.let_go(held)
        return self._write(replace(held, state=state, reason=words, updated_at_s=at_s))

    def step(self, session: Session, step: StepRecord, *, giving_back: bool = False) -> Session:
        """What is now known of one step (of `give_back` when `giving_back`). Returns the session as
        it is now. Raises FenceLost when the fence differs."""
        held = self._fenced(session)
        records = held.give_back if giving_back else held.steps
        if step.index not in {record.index for record in records}:
            raise StoreError(f"session {held.id} has no step {step.index}")
        changed = tuple(step if record.index == step.index else record for record in records)
        if giving_back:
            return self._write(replace(held, give_back=changed, updated_at_s=step.updated_at_s))
        return self._write(replace(held, steps=changed, updated_at_s=step.updated_at_s))

    def _refuse_held(self, nodes: Collection[EntityId], *, but: str = "") -> None:
        """Before anything is written, so that the transaction can go on."""
        holder = self.holding(nodes, but=but)
        if holder is not None:
            names = ", ".join(sorted(nodes))
            raise StoreConflict(f"of {names} something is held by session {holder.id}")

    def _take(self, session: Session, nodes: Collection[EntityId]) -> None:
        # In order of id, so that two who want the same nodes at once wait for each other in turn.
        for node in sorted(nodes):
            self._db.run(holds.insert().values(node=node, session=session.id))

    def _fenced(self, session: Session) -> Session:
        """The row, locked until the transaction ends, if the caller's fence still counts."""
        row = self._db.row(select(sessions).where(sessions.c.id == session.id).with_for_update())
        if row is None:
            raise StoreError(f"there is no session {session.id}")
        if row.fence != session.fence:
            raise FenceLost(
                f"session {session.id} is at fence {row.fence}, not {session.fence}",
                fix="Stop: another worker has it.",
            )
        return _session(row)

    def _write(self, session: Session) -> Session:
        self._db.run(
            sessions.update().where(sessions.c.id == session.id).values(**_columns(session))
        )
        return session


def _columns(session: Session) -> dict[str, Any]:
    """The columns that change over a session's life (values of several types)."""
    return {
        "state": session.state.value,
        "active": session.state not in ENDED_SESSIONS,
        "fence": session.fence,
        "worker": session.worker,
        "lease_until_s": session.lease_until_s,
        "updated_at_s": session.updated_at_s,
        "steps": _STEPS.encode(session.steps),
        "give_back": _STEPS.encode(session.give_back),
        "reason": session.reason,
    }


def _session(row: AnyRow) -> Session:
    return Session(
        id=row.id,
        plan=row.plan,
        plan_version=row.plan_version,
        incident=row.incident,
        entity=EntityId(row.entity),
        state=SessionState(row.state),
        fence=row.fence,
        worker=row.worker,
        lease_until_s=row.lease_until_s,
        steps=_STEPS.decode(row.steps),
        opened_at_s=row.opened_at_s,
        updated_at_s=row.updated_at_s,
        give_back=_STEPS.decode(row.give_back),
        reason=row.reason,
    )
