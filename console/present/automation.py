"""The second axis of an incident's state: what the automation is doing about it."""

from dataclasses import replace

from console.present.case import PlanCase
from console.words import (
    ADVICE_ONLY,
    AUTOMATION,
    BEHIND_OTHER,
    GIVEN_BACK,
    NO_AUTOMATION,
    PLAN_ONLY,
    UNDONE,
    WAITS_FOR_PERSON,
    Word,
    humanise,
)
from fleetmend.model.plans import Refusal, SessionState

UNDONE_REASON = "undone"
"""What remediation calls a session that a person undid."""
_WAITING = frozenset({SessionState.PROPOSED, SessionState.WAITING})

REFUSAL: dict[Refusal, str] = {
    Refusal.HALTED: "everything is halted",
    Refusal.AUTONOMY_OBSERVE: "the pool only observes",
    Refusal.AUTONOMY_RECOMMEND: "the pool only recommends",
    Refusal.APPROVAL_MISSING: "needs a person's approval",
    Refusal.APPROVAL_EXPIRED: "the approval has expired",
    Refusal.APPROVAL_DENIED: "a person denied it",
    Refusal.APPROVAL_STALE: "approved for another version",
    Refusal.RATE_EXCEEDED: "too many taken lately",
    Refusal.LEVEL_EXCEEDED: "too many out at once",
    Refusal.CAPACITY_SHORT: "too little capacity would remain",
    Refusal.TELEMETRY_STALE: "the target is not heard",
    Refusal.DOMAIN_SILENT: "much of the domain is not heard",
    Refusal.SHARED_PARENT: "the shared parent is to blame",
    Refusal.OWNED_BY_OTHER: "somebody else holds the node",
    Refusal.WITNESSES_MISSING: "too few witnesses",
    Refusal.NO_OUTSIDE_WITNESS: "only engines speak for it",
    Refusal.CAUSE_DOUBTFUL: "the cause is not sure enough",
    Refusal.PROVISIONAL: "not confirmed by a tick yet",
    Refusal.HOSTS_PLATFORM: "the node carries the platform",
    Refusal.MAINTENANCE: "maintenance window",
    Refusal.CHANGE_FREEZE: "change freeze",
    Refusal.CATCHING_UP: "the log is catching up",
    Refusal.UNKNOWN_TARGET: "the target is not known",
}


WAIVER: dict[str, str] = {
    "explained_silence": "its silence is explained by the diagnosis",
}


def waiver_word(name: str) -> str:
    """Why a guard that would have spoken does not, in words."""
    return WAIVER.get(name, humanise(name).lower())


def refusal_word(refusal: Refusal) -> str:
    """A refusal in words; its own name stands beside it wherever it is shown."""
    return REFUSAL.get(refusal, humanise(refusal.value).lower())


def automation(found: PlanCase | None) -> Word:
    """What stands beside the incident's own status."""
    if found is None:
        return NO_AUTOMATION
    if found.session is None:
        return PLAN_ONLY if found.holder is None else BEHIND_OTHER
    if not found.changes:
        return ADVICE_ONLY
    if found.needs_person:
        return WAITS_FOR_PERSON
    word = AUTOMATION[found.session.state]
    if found.over:
        return _ended(found, word)
    if found.session.state in _WAITING and found.blocking is not None:
        first = found.blocking.reasons[0].refusal
        return replace(AUTOMATION[SessionState.WAITING], text=f"Held: {refusal_word(first)}")
    return word


def _ended(found: PlanCase, word: Word) -> Word:
    """The end of a session: what was given back is said only where something had been taken."""
    if found.session is not None and found.session.reason == UNDONE_REASON:
        word = UNDONE
    return replace(word, text=f"{word.text}, {GIVEN_BACK}") if found.gave_back else word
