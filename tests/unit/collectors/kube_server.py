"""An API server in memory that keeps a history, forgets it, repeats itself and breaks off as
told."""

from collections.abc import Iterator
from typing import Any

from collectors.kube_feeds import Feed
from collectors.kube_json import Object
from collectors.kube_reader import Page, VersionGone, WatchEvent, WatchType
from fleetmend.errors import PortError

Json = dict[str, Any]


class HistoryServer:
    """One feed's objects: a `KubeSource`."""

    def __init__(self) -> None:
        self.version = 1
        self._objects: dict[str, Json] = {}
        self._history: list[tuple[int, WatchEvent]] = []
        self._floor = 0
        """Versions below this one are forgotten."""
        self.repeat = 0
        """How many events before the asked version the next watches begin."""
        self.cut_after: int | None = None
        """Events after which the next watch breaks off."""
        self.cut_list = False
        """Whether the next list breaks off after its first page."""

    def put(self, name: str, obj: Json) -> None:
        """Create or update; `obj` gets the next version, and at its creation a uid."""
        self.version += 1
        before = self._objects.get(name)
        uid = f"{name}-{self.version}" if before is None else before["metadata"]["uid"]
        obj["metadata"] |= {"resourceVersion": str(self.version), "uid": uid}
        kind = WatchType.ADDED if before is None else WatchType.MODIFIED
        self._objects[name] = obj
        self._history.append((self.version, WatchEvent(kind, obj)))

    def delete(self, name: str) -> None:
        """Delete; one that is not there stays so."""
        obj = self._objects.pop(name, None)
        if obj is None:
            return
        self.version += 1
        last = obj | {"metadata": obj["metadata"] | {"resourceVersion": str(self.version)}}
        self._history.append((self.version, WatchEvent(WatchType.DELETED, last)))

    def compact(self) -> None:
        """Forget the history."""
        self._floor = self.version
        self._history.clear()

    def objects(self) -> list[Object]:
        """What is there."""
        return [self._objects[name] for name in sorted(self._objects)]

    def pages(self, feed: Feed) -> Iterator[Page]:
        """Two objects a page."""
        now, version = self.objects(), str(self.version)
        cut, self.cut_list = self.cut_list, False
        for begin in range(0, max(1, len(now)), 2):
            yield Page(now[begin : begin + 2], version)
            if cut:
                raise PortError("cut")

    def watch(self, feed: Feed, since: str, seconds: float) -> Iterator[WatchEvent]:
        """What came after `since`, perhaps a little more, perhaps not all of it."""
        if int(since) < self._floor:
            raise VersionGone("too old")
        cut, self.cut_after = self.cut_after, None
        old = [event for at, event in self._history if at <= int(since)]
        new = [event for at, event in self._history if at > int(since)]
        again = old[-self.repeat :] if self.repeat else []
        for number, event in enumerate([*again, *new]):
            if number == cut:
                raise PortError("cut")
            yield event
            if number < self.repeat:
                yield event

    def stop(self) -> None:
        """Nothing waits."""
