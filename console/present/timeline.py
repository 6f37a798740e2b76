"""The timeline of an incident: audit records and changes of the incident itself, newest first."""

from dataclasses import dataclass

from console.present.automation import refusal_word
from console.present.case import IncidentCase
from console.words import CHANGE, VERB, Word, humanise, shorten
from fleetmend.model.audit import AuditRecord, AuditVerb
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Refusal

SHOWN_MAX = 10
ITEMS_MAX = 120
_CHARS_MAX = 240
_IN_AUDIT = {"opened": AuditVerb.INCIDENT_OPENED, "resolved": AuditVerb.INCIDENT_RESOLVED}
_OTHER = Word("Incident changed", "activity", "mut")
_PEOPLE = frozenset(
    {
        AuditVerb.APPROVED,
        AuditVerb.DENIED,
        AuditVerb.NOTE,
        AuditVerb.CAUSE_LABELLED,
        AuditVerb.HALTED,
        AuditVerb.UNHALTED,
    }
)


@dataclass(frozen=True, slots=True)
class TimelineItem:
    """One line."""

    at_s: float
    word: Word
    text: str
    actor: str
    person: bool
    seq: int = 0
    """The audit record behind it; 0 when there is none."""
    times: int = 1
    """How often the same happened in a row."""


def timeline(case: IncidentCase) -> tuple[TimelineItem, ...]:
    """Newest first, bounded; the same in a row is one line with a count."""
    verbs = {record.verb for record in case.audit}
    items = [
        _from_change(version)
        for version in case.history
        if _IN_AUDIT.get(version.change) not in verbs
    ]
    items += [from_audit(record) for record in case.audit if not _admitted(record)]
    items.sort(key=lambda item: (item.at_s, item.seq))
    return tuple(reversed(_folded(items)[-ITEMS_MAX:]))


def from_audit(record: AuditRecord) -> TimelineItem:
    """An audit record as a line."""
    return TimelineItem(
        at_s=record.at_s,
        word=VERB[record.verb],
        text=shorten(audit_text(record), _CHARS_MAX),
        actor=record.actor,
        person=record.verb in _PEOPLE,
        seq=record.seq,
    )


def audit_text(record: AuditRecord) -> str:
    """What a record says, in words."""
    detail = record.detail
    if record.verb is AuditVerb.NOTE:
        return str(detail.get("text", ""))
    if record.verb is AuditVerb.VERDICT:
        return _verdict_text(record)
    return ", ".join(_said(key, value) for key, value in detail.items() if value not in ("", None))


def _said(key: str, value: str | int | float | bool | None) -> str:
    if key == "step" and isinstance(value, int):
        return f"step {value + 1}"  # people count from one
    return f"{key.replace('_', ' ')} {value}"


def _verdict_text(record: AuditRecord) -> str:
    names = str(record.detail.get("reasons", "")).replace(",", " ").split()
    known = set(Refusal)
    words = [refusal_word(Refusal(name)) if name in known else name for name in names]
    step = record.detail.get("step")
    where = f"step {int(step) + 1}: " if isinstance(step, int) else ""
    return where + ("; ".join(words) or "admitted")


def _admitted(record: AuditRecord) -> bool:
    """Admissions that let a step pass are followed by the step itself."""
    return record.verb is AuditVerb.VERDICT and not record.detail.get("reasons")


def _from_change(version: Incident) -> TimelineItem:
    if version.change == "severity_changed":
        text = f"now {version.severity.value}: {version.severity_reason}"
    elif version.change in ("cause_changed", "opened", "confirmed") and version.causes:
        first = version.causes[0]
        text = f"{humanise(first.cause)}, {first.score:.0%}"
    else:
        text = ""
    return TimelineItem(
        at_s=version.updated_at_s,
        word=CHANGE.get(version.change, _OTHER),
        text=shorten(text, _CHARS_MAX),
        actor="fleetmend/rca",
        person=False,
    )


def _folded(items: list[TimelineItem]) -> list[TimelineItem]:
    folded: list[TimelineItem] = []
    for item in items:
        last = folded[-1] if folded else None
        if last is not None and (last.word, last.text, last.actor) == (
            item.word,
            item.text,
            item.actor,
        ):
            folded[-1] = TimelineItem(
                item.at_s, item.word, item.text, item.actor, item.person, item.seq, last.times + 1
            )
        else:
            folded.append(item)
    return folded
