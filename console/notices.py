"""What a page says after a change. Addresses carry only the name of a notice, never its text."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Notice:
    """One banner."""

    text: str
    tone: str
    icon: str


_NOTICES = {
    "approved": Notice(
        "Approved. The next step runs as soon as every guard admits it.", "ok", "check"
    ),
    "denied": Notice("Denied. Nothing more of this version will run.", "warn", "x"),
    "undone": Notice("Undone: what was taken is being given back.", "ok", "undo-2"),
    "renewed": Notice(
        "Planned again. The new version begins as soon as what was taken is given back.",
        "ok",
        "list-tree",
    ),
    "noted": Notice("The note is kept.", "ok", "check"),
    "labelled": Notice("Kept: your word on this cause is a label now.", "ok", "check"),
    "halted": Notice("Halted.", "warn", "octagon-x"),
    "resumed": Notice("The halt is lifted.", "ok", "circle-play"),
    "fault": Notice("The fault is made. It shows here as soon as it is found.", "vi", "flame"),
}


def notice(name: str) -> Notice | None:
    """The notice of this name; None for every other text."""
    return _NOTICES.get(name)


def failure(text: str) -> Notice:
    """A change that did not happen, and why."""
    return Notice(text, "bad", "circle-alert")
