"""Where a watch stands, and which of its events are old news. One for each `kube_reader` feed.

The server gives the events of one list in the order of their resource versions, so whatever is not
newer than the newest that was taken has been taken already: a repetition, or a remnant from before
a new list. Versions of other forms (the API calls them opaque) are only remembered; an object that
says nothing new then still gives nothing, because `kube_fold` compares states.
"""


class Cursor:
    """The newest version that was taken."""

    def __init__(self) -> None:
        self.since = ""
        """The version to watch from; empty: list first."""
        self.repeated = 0
        """Events that were not newer."""

    def listed(self, version: str) -> None:
        """A whole list was taken. It counts also when its version is lower: a server that was
        restored from a backup starts again from there."""
        self.since = version

    def forget(self) -> None:
        """List again: the server does not know the version any more, or nobody knows what was
        taken."""
        self.since = ""

    def is_news(self, version: str) -> bool:
        """Whether an event of this version has not been taken yet."""
        new, taken = _number(version), _number(self.since)
        if new is None or taken is None or new > taken:
            return True
        self.repeated += 1
        return False

    def marked(self, version: str) -> None:
        """Everything up to this version was taken."""
        new, taken = _number(version), _number(self.since)
        if version and (new is None or taken is None or new > taken):
            self.since = version


def _number(version: str) -> int | None:
    return int(version) if version.isascii() and version.isdecimal() else None
