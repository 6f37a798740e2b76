"""Listing one resource of the cluster's API and following it, whatever breaks in between.

`collectors.kube_watch` runs one `FeedReader` for each feed, in a thread of its own, over
`collectors.kubernetes.KubeApi`. It resumes from the last resource version and lists again when the
server has forgotten it (410). What it delivers are sightings: raw objects end here.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from collectors.kube_cursor import Cursor
from collectors.kube_feeds import Feed
from collectors.kube_json import Object, version
from collectors.kube_sight import Sight, Sighting
from fleetmend.clock import Clock
from fleetmend.errors import PortError

logger = logging.getLogger(__name__)

_RETRY_S = (1.0, 10.0)
"""First and longest pause after a failure. 10: one that asks so seldom is no burden to a server
that is coming back."""
_AGAIN_S = 0.2
"""Pause after a watch that brought nothing: a server that ends each at once is not stormed."""


class WatchType(StrEnum):
    """The types of watch events."""

    ADDED = "ADDED"
    MODIFIED = "MODIFIED"
    DELETED = "DELETED"
    BOOKMARK = "BOOKMARK"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a watch."""

    type: WatchType
    object: Object


@dataclass(frozen=True, slots=True)
class Page:
    """A part of a list; `version` is the whole list's."""

    objects: list[Object]
    version: str


class VersionGone(PortError):
    """The server no longer knows the resource version, or not yet: list again."""


class KubeSource(Protocol):
    """What is needed of the API. Errors: VersionGone, PortRefused, PortError."""

    def pages(self, feed: Feed) -> Iterator[Page]:
        """All objects, page by page; at least one page."""
        ...

    def watch(self, feed: Feed, since: str, seconds: float) -> Iterator[WatchEvent]:
        """What happens after `since`, for at most about `seconds`. Once it returns, the server has
        granted the watch."""
        ...

    def stop(self) -> None:
        """End the watches that are open, from another thread."""
        ...


class ListStep(StrEnum):
    """Where a list begins and ends."""

    BEGIN = "begin"
    END = "end"


@dataclass(frozen=True, slots=True)
class Gone:
    """An object that was deleted."""

    uid: str
    version: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a reader hands over, in order."""

    feed: Feed
    what: ListStep | Gone | tuple[Sighting, ...]


class FeedState(StrEnum):
    """How a feed stands."""

    LISTING = "listing"
    FOLLOWING = "following"
    FAILING = "failing"


class FeedReader:
    """One feed; `deliver` gets everything in order."""

    def __init__(
        self,
        source: KubeSource,
        feed: Feed,
        *,
        sight: Sight,
        watch_s: float,
        deliver: Callable[[Delivery], None],
    ) -> None:
        self.feed = feed
        self._source = source
        self._sight = sight
        self._watch_s = watch_s
        self._deliver = deliver
        self.cursor = Cursor()
        self.state = FeedState.LISTING
        self.reason = ""
        """Why it fails."""
        self.failures: Counter[str] = Counter()
        """Turns that failed, by the name of the error."""
        self.lists = 0
        """Lists that were read whole."""
        self.expired = 0
        """Versions that the server had forgotten."""

    def turn(self) -> bool:
        """List when nothing is known yet, then watch until the watch ends; false when that brought
        nothing. Raises PortError; the next turn goes on where this one ended."""
        listed = not self.cursor.since
        if listed:
            self._list()
        heard = False
        try:
            events = self._source.watch(self.feed, self.cursor.since, self._watch_s)
            self.state, self.reason = FeedState.FOLLOWING, ""
            for event in events:
                self._take(event)
                heard = True
        except VersionGone:
            self.expired += 1
            self.cursor.forget()
        return heard or listed

    def run(self, stop: threading.Event, clock: Clock) -> None:
        """Take turns until `stop` is set, with pauses that grow while the API does not answer."""
        pause_s = _RETRY_S[0]
        while not stop.is_set():
            try:
                if not self.turn():
                    clock.wait(stop, _AGAIN_S)
                pause_s = _RETRY_S[0]
                continue
            except PortError as error:
                if stop.is_set():  # the watch was ended on purpose
                    return
                self._failed(error)
            except Exception as error:
                # A thread that ended here would leave a collector that marks and hears nothing.
                logger.exception("watch failed unexpectedly", extra={"feed": str(self.feed)})
                self._failed(error)
                self.cursor.forget()
            clock.wait(stop, pause_s)
            pause_s = min(pause_s * 2, _RETRY_S[1])

    def _list(self) -> None:
        if self.state is not FeedState.FAILING:  # which it is until a list has come whole
            self.state = FeedState.LISTING
        self._deliver(Delivery(self.feed, ListStep.BEGIN))
        newest = ""
        for page in self._source.pages(self.feed):
            newest = page.version
            # What the page holds is let go object by object as its sighting is made.
            page.objects.reverse()
            seen = []
            while page.objects:
                seen.append(self._sight.see(self.feed, page.objects.pop()))
            self._deliver(Delivery(self.feed, tuple(seen)))
        self._deliver(Delivery(self.feed, ListStep.END))
        self.cursor.listed(newest)
        self.lists += 1

    def _take(self, event: WatchEvent) -> None:
        at = version(event.object)
        if event.type is WatchType.BOOKMARK:
            self.cursor.marked(at)
        elif self.cursor.is_news(at):
            seen = self._sight.see(self.feed, event.object)
            if event.type is WatchType.DELETED:
                self._deliver(Delivery(self.feed, Gone(seen.uid, at)))
            else:
                self._deliver(Delivery(self.feed, (seen,)))
            # Only what was handed over counts as taken.
            self.cursor.marked(at)

    def _failed(self, error: Exception) -> None:
        self.failures[type(error).__name__] += 1
        reason = f"{type(error).__name__}: {error}"[:200]
        if self.state is not FeedState.FAILING:
            extra = {"feed": str(self.feed), "reason": reason}
            logger.warning("the cluster's API does not answer as it should", extra=extra)
        self.state, self.reason = FeedState.FAILING, reason
