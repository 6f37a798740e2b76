"""The timeline of an incident: audit records and changes of the incident itself, newest first."""

from dataclasses import dataclass

from console.figures import clock, name_of, plain, span
from console.present.automation import refusal_word
from console.present.case import IncidentCase
from console.words import ACTION, CHANGE, VERB, Word, humanise, prose, shorten
from fleetmend.model.audit import AuditRecord, AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import Incident
from fleetmend.model.notifications import DeliveryState
from fleetmend.model.plans import ActionKind, Effect, Refusal

Detail = dict[str, str | int | float | bool | None]

SHOWN_MAX = 10
ITEMS_MAX = 120
_CHARS_MAX = 240
_IN_AUDIT = {"opened": AuditVerb.INCIDENT_OPENED, "resolved": AuditVerb.INCIDENT_RESOLVED}
_SAID = ("outcome", "check", "refused", "why")
"""What became of a step, in the order of telling."""
_PLUMBING = frozenset(
    {"incident", "plan", "plan_version", "fence", "effect", "message", "role", "title", "attempts"}
)
"""Details that machines need; the audit page's export has them."""
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
    items += [from_audit(record) for record in case.audit if not _of_no_interest(record)]
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
    match record.verb:
        case AuditVerb.NOTE:
            return _word(detail, "text")
        case AuditVerb.VERDICT:
            words = "; ".join(map(refusal_word, _refusals(record)))
            return f"{_deed(detail)}: {words or 'admitted'}".lstrip(": ")
        case AuditVerb.NOTIFIED if detail.get("text"):
            return _word(detail, "text")
        case AuditVerb.NOTIFIED if detail.get("receiver"):
            return _told_whom(detail)
        case AuditVerb.PLAN_PROPOSED if "version" in detail:
            return f"{_word(detail, 'runbook')}, version {_word(detail, 'version')}"
        case AuditVerb.SESSION_CHANGED:
            return _told(detail, ("state", "reason", "why"))
    if "action" in detail:
        return ": ".join(filter(None, (_deed(detail), _told(detail, _SAID))))
    return ", ".join(
        _pair(key, value)
        for key, value in detail.items()
        if key not in _PLUMBING and value not in ("", None)
    )


def _pair(key: str, value: str | int | float | bool) -> str:
    """One detail: moments and spans as such, codes as words."""
    name = key.removesuffix("_s").removesuffix("_at").replace("_", " ")
    if isinstance(value, int | float) and not isinstance(value, bool):
        if key.endswith("_at_s"):
            return f"{name} {clock(value)} UTC"
        if key.endswith("_s"):
            return f"{name} {span(value)}"
        return f"{name} {plain(value)}"
    return f"{key.replace('_', ' ')} {prose(str(value))}"


def _told_whom(detail: Detail) -> str:
    """`log, accepted`; what a receiver said is news only where it did not just take it."""
    outcome = _word(detail, "outcome")
    said = _word(detail, "said") if outcome != DeliveryState.ACCEPTED else ""
    return ", ".join(filter(None, (_word(detail, "receiver"), outcome, said)))


def _word(detail: Detail, key: str) -> str:
    value = detail.get(key)
    return "" if value is None else str(value)


def _told(detail: Detail, keys: tuple[str, ...]) -> str:
    return ": ".join(humanise(_word(detail, key)).lower() for key in keys if _word(detail, key))


def _deed(detail: Detail) -> str:
    """`Cordon node-7`, as far as the record says it."""
    action, target = str(detail.get("action", "")), EntityId(str(detail.get("target", "")))
    verb = ACTION[ActionKind(action)] if action in set(ActionKind) else humanise(action)
    return f"{verb} {name_of(target) if target else ''}".strip()


def _refusals(record: AuditRecord) -> list[Refusal]:
    return [Refusal(key) for key in record.detail if key in set(Refusal)]


def _of_no_interest(record: AuditRecord) -> bool:
    """Admissions that let a step pass are followed by the step itself, and telling people has a
    record of its own."""
    if record.verb is AuditVerb.VERDICT:
        return not _refusals(record)
    return record.detail.get("effect") == Effect.OBSERVE.value


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
