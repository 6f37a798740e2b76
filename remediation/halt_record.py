"""The halt in the audit log: each change of a switch once, whoever made it and whoever saw it.

A switch is a file or a map that people set by many ways, with the store down if need be, so what is
written down is what is seen: `remediation.service` records what it sets, every executor what it
reads (`remediation.execute`). All of them say the same of the same change, and it is kept once.
Who set it is the switch's own word: whoever can write it can write a name.
"""

from fleetmend.clock import Clock
from fleetmend.model.audit import AuditRecord, AuditVerb
from fleetmend.ports.halt import HaltState, HaltSwitch
from fleetmend.store import Store, Transaction
from remediation.ledger import Detail, Ledger

SUBJECT = "halt"
LOOK_S = 1.0
"""Seconds between two looks of an executor that has nothing else to do."""
LOOKED_BACK = 200
"""Records on the halt among which the last of a switch is looked for."""


class _Known(Exception):
    """The change is on record already."""


class HaltWatch:
    """What one executor has seen of the switch."""

    def __init__(self, switch: HaltSwitch, ledger: Ledger, clock: Clock) -> None:
        self._switch = switch
        self._ledger = ledger
        self._clock = clock
        self._seen: HaltState | None = None
        self._looked_s = float("-inf")

    def look(self) -> None:
        """Look at most once a second, and have a change recorded. Raises StoreError: then the same
        change is recorded at the next look."""
        now_s = self._clock.monotonic_s()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        state = self._switch.state()
        if state != self._seen:
            self._ledger.halt_seen(state)
            self._seen = state


def record_halt(store: Store, state: HaltState, *, now_s: float, seen_by: str = "") -> bool:
    """Keep a change of the switch; False when the last record of this switch says the same, or when
    the switch has never been touched. `seen_by` is the executor that read it, empty for who set it.
    Raises StoreError."""
    untouched = not state.halted and not state.by and not state.since_s
    try:
        with store.transaction() as tx:
            last = _last_of(tx, state.where)
            if (untouched and last is None) or (last is not None and _says(last, state)):
                return False
            # The end of the chain is locked from here on: look again, now that nobody is between.
            kept = _append(tx, state, now_s=now_s, seen_by=seen_by)
            last = _last_of(tx, state.where, before_seq=kept.seq)
            if last is not None and _says(last, state):
                raise _Known
    except _Known:
        return False
    return True


def _append(tx: Transaction, state: HaltState, *, now_s: float, seen_by: str) -> AuditRecord:
    detail: Detail = {"reason": state.reason, "switch": state.where, "since_s": state.since_s}
    if seen_by:
        detail["seen_by"] = seen_by
    verb = AuditVerb.HALTED if state.halted else AuditVerb.UNHALTED
    actor = state.by or "unknown"
    return tx.audit.append(at_s=now_s, actor=actor, verb=verb, subject=SUBJECT, detail=detail)


def _last_of(tx: Transaction, switch: str, *, before_seq: int | None = None) -> AuditRecord | None:
    before = tx.audit.head() + 1 if before_seq is None else before_seq
    records = tx.audit.about(SUBJECT, before_seq=before, limit=LOOKED_BACK)
    of_switch = (r for r in reversed(records) if r.detail.get("switch") == switch)
    return next(of_switch, None)


def _says(record: AuditRecord, state: HaltState) -> bool:
    said = record.verb is AuditVerb.HALTED, record.actor, record.detail.get("since_s")
    reason = record.detail.get("reason")
    return (said, reason) == ((state.halted, state.by or "unknown", state.since_s), state.reason)
