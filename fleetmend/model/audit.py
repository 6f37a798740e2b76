"""The audit log: one hash-chained sequence of everything decided and done.

`hash` covers the record and the hash before it (BLAKE2b, 32 bytes), so a record cannot be changed,
removed or inserted without breaking every later one. `fleetmend audit verify` walks the chain.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

GENESIS = "0" * 64


class AuditVerb(StrEnum):
    """What an audit record says."""

    INCIDENT_OPENED = "incident_opened"
    INCIDENT_RESOLVED = "incident_resolved"
    PLAN_PROPOSED = "plan_proposed"
    VERDICT = "verdict"
    APPROVED = "approved"
    DENIED = "denied"
    SESSION_CHANGED = "session_changed"
    INTENT = "intent"
    OUTCOME = "outcome"
    VERIFIED = "verified"
    GAVE_BACK = "gave_back"
    HALTED = "halted"
    UNHALTED = "unhalted"
    NOTIFIED = "notified"
    NOTE = "note"
    CAUSE_LABELLED = "cause_labelled"
    """A person confirmed or rejected a cause."""


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """One link of the chain."""

    seq: int
    """From 1, without gaps."""
    at_s: float
    actor: str
    """`fleetmend/<role>` or a person's name."""
    verb: AuditVerb
    subject: str
    """What it is about: incident, plan, session or entity id."""
    detail: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    prev_hash: str = GENESIS
    hash: str = ""


def record_hash(record: AuditRecord) -> str:
    """The hash that `record` must carry, from its content and `prev_hash`."""
    body = [
        record.seq,
        record.at_s,
        record.actor,
        record.verb.value,
        record.subject,
        record.detail,
        record.prev_hash,
    ]
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.blake2b(text.encode(), digest_size=32).hexdigest()


@dataclass(frozen=True, slots=True)
class Breach:
    """The first place at which a chain does not hold."""

    seq: int
    what: str


def verify_chain(
    records: Iterable[AuditRecord], *, start: str = GENESIS, first_seq: int = 1
) -> Breach | None:
    """Walk the chain in order; None when every link holds."""
    previous, expected_seq = start, first_seq
    for record in records:
        if record.seq != expected_seq:
            return Breach(expected_seq, f"record missing: found {record.seq}")
        if record.prev_hash != previous:
            return Breach(record.seq, "does not follow the record before it")
        if record.hash != record_hash(record):
            return Breach(record.seq, "content was changed")
        previous, expected_seq = record.hash, expected_seq + 1
    return None
