"""The audit log: one hash-chained sequence of everything decided and done.

`hash` covers the record and the hash before it, so a record cannot be changed, removed or inserted
without breaking every later one: BLAKE2b without a key, HMAC-SHA256 with one (32 bytes both), which
who can rewrite the database cannot compute. `fleetmend audit verify` walks the chain.
"""

import hashlib
import hmac
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum

from fleetmend.errors import BadInput

GENESIS = "0" * 64


class AuditVerb(StrEnum):
    """What an audit record says."""

    INCIDENT_OPENED = "incident_opened"
    INCIDENT_RESOLVED = "incident_resolved"
    PLAN_PROPOSED = "plan_proposed"
    PLAN_RENEWED = "plan_renewed"
    """A person asked for a new plan where automation had given up."""
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


def record_hash(record: AuditRecord, key: bytes = b"") -> str:
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
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()
    if key:
        return hmac.new(key, text, hashlib.sha256).hexdigest()
    return hashlib.blake2b(text, digest_size=32).hexdigest()


@dataclass(frozen=True, slots=True)
class ChainHead:
    """The end of a chain at one moment: kept elsewhere, it proves that all before is what it was
    then."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> "ChainHead":
        """From what `str` gives. Raises BadInput."""
        seq, _, digest = text.strip().partition(":")
        if not (seq.isascii() and seq.isdecimal()) or len(digest) != len(GENESIS):
            raise BadInput(f"{text[:80]!r} is no head", fix="Expected what `audit head` printed.")
        return cls(int(seq), digest)


@dataclass(frozen=True, slots=True)
class Breach:
    """The first place at which a chain does not hold."""

    seq: int
    what: str


class ChainWalk:
    """A walk along a chain from its first record, in as many steps as one likes.

    With a key, records from before the key was set may lead the chain: the first that carries the
    key covers them, so they cannot be changed either. After it every record must carry the key.
    """

    def __init__(self, key: bytes = b"", *, through: ChainHead | None = None) -> None:
        """`through`: a head of earlier, which the chain must still pass."""
        self._key = key
        self._through = through
        self.at = ChainHead(0, GENESIS)
        """The last record that holds."""
        self.keyed_from = 0
        """The first record that carries the key; 0 while none has been met."""

    def take(self, records: Iterable[AuditRecord]) -> Breach | None:
        """Walk over the records that follow; at a breach the walk stands before it."""
        for record in records:
            what = self._wrong(record)
            if what:
                return Breach(min(record.seq, self.at.seq + 1), what)
            self.at = ChainHead(record.seq, record.hash)
        return None

    def end(self, head: ChainHead) -> Breach | None:
        """What is wrong with a chain that ends here, when its stored head is this."""
        if self.at.seq < head.seq:
            return Breach(self.at.seq + 1, f"record missing: the log once reached {head.seq}")
        if self._through is not None and self.at.seq < self._through.seq:
            once = self._through.seq
            return Breach(self.at.seq + 1, f"cut off: the log was once verified to {once}")
        if self.at != head:
            return Breach(head.seq + 1, f"the stored head is not the last record {self.at.seq}")
        if self._key and self.at.seq and not self.keyed_from:
            return Breach(1, "no record carries the key that is set")
        return None

    def _wrong(self, record: AuditRecord) -> str:
        if record.seq != self.at.seq + 1:
            return f"record missing: found {record.seq}"
        if record.prev_hash != self.at.hash:
            return "does not follow the record before it"
        if self._key and hmac.compare_digest(record.hash, record_hash(record, self._key)):
            self.keyed_from = self.keyed_from or record.seq
        elif record.hash != record_hash(record):
            return "content was changed"
        elif self.keyed_from:
            return "written without the key"
        if self._through is not None and record.seq == self._through.seq:
            return "" if record.hash == self._through.hash else "not the record that it once was"
        return ""


def verify_chain(records: Iterable[AuditRecord], *, key: bytes = b"") -> Breach | None:
    """Walk a chain from its first record; None when every link holds."""
    return ChainWalk(key).take(records)
