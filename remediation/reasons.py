"""Why a session is in its state: the words that console, audit and tests show."""

from enum import StrEnum


class Why(StrEnum):
    """Reasons of session states, beside the refusals that a waiting session names."""

    RESOLVED = "resolved"
    """The incident is over."""
    MERGED = "merged"
    """A shared cause was found: its incident carries on, this one lets go."""
    SUPERSEDED = "superseded"
    """The plan has changed."""
    UNDONE = "undone"
    """A person asked for it back."""
    DENIED = "denied"
    """A person said no to the plan."""
    TAKEN_BACK_BY_PERSON = "taken_back_by_person"
    """A person uncordoned the node, or gave the engine traffic, behind our back."""
    APPROVAL_EXPIRED = "approval_expired"
    HELD_AFTER_FAILURE = "held_after_failure"
    """A step failed; what was done before stays until the fault clears."""
    STEP_FAILED = "step_failed"
    """A step failed; what was done before is undone."""


ENDED_BY_PERSON = frozenset({Why.UNDONE, Why.DENIED, Why.TAKEN_BACK_BY_PERSON})
"""After these nothing is taken again for the same incident."""

LET_GO = frozenset({Why.UNDONE, Why.TAKEN_BACK_BY_PERSON, Why.SUPERSEDED})
"""Reasons with which a session ends as cancelled once it has given back, not as done."""
