"""Fakes of what a collector is given: sink, dead letters, an executor that works at once."""

from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

from collectors.fetch import Fetched, Outcome
from fleetmend.model.entities import TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.deadletters import DeadLetter


class ListSink:
    """Keeps what it is given, by kind."""

    def __init__(self) -> None:
        self.batches: list[tuple[str, SampleBatch]] = []
        self.events: list[Event] = []
        self.changes: list[TopologyChange] = []
        self.marks: list[float] = []

    def samples(self, batch: SampleBatch, node: str) -> None:
        assert node
        self.batches.append((node, batch))

    def event(self, event: Event) -> None:
        self.events.append(event)

    def topology(self, change: TopologyChange) -> None:
        self.changes.append(change)

    def mark(self, at_s: float) -> None:
        self.marks.append(at_s)

    def values(self, signal: str) -> list[tuple[float, float]]:
        """Time and value of every sample of a signal."""
        return [
            (at, value)
            for _, batch in self.batches
            for at, code, value in zip(
                batch.time_s.tolist(), batch.signal.tolist(), batch.value.tolist(), strict=True
            )
            if batch.signals[code] == signal
        ]


class ListLetters:
    """Keeps dead letters."""

    def __init__(self) -> None:
        self.letters: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        self.letters.append(letter)


class Pages:
    """A fetcher whose answers the test decides; they are there at once unless `held`."""

    def __init__(self, answer: Callable[[str], Fetched]) -> None:
        self.answer = answer
        self.held = False
        self.asked: list[str] = []
        self._waiting: list[tuple[str, Future[Fetched]]] = []

    def begin(self, url: str, timeout_s: float, ca_file: str = "") -> "Future[Fetched]":
        self.asked.append(url)
        future: Future[Fetched] = Future()
        self._waiting.append((url, future))
        if not self.held:
            self.release()
        return future

    def release(self) -> None:
        """Answer everything that waits."""
        waiting, self._waiting = self._waiting, []
        for url, future in waiting:
            future.set_result(self.answer(url))

    def close(self) -> None:
        pass


def page_of(text: str) -> Callable[[str], Fetched]:
    """Always this page."""
    return lambda _: Fetched(Outcome.OK, text.encode(), status=200, duration_s=0.01)


class HeldExecutor(Executor):
    """Runs what is submitted when told to; at once unless `held`."""

    def __init__(self) -> None:
        self.held = False
        self._waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> "Future[Any]":
        future: Future[Any] = Future()
        self._waiting.append((future, lambda: fn(*args, **kwargs)))
        if not self.held:
            self.release()
        return future

    def release(self) -> None:
        """Do everything that waits."""
        waiting, self._waiting = self._waiting, []
        for future, work in waiting:
            future.set_result(work())
