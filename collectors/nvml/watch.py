"""A deadline over calls that may hang: a lost GPU can hold an NVML call for seconds or for good.

Calls are made by one worker thread, one GPU after the other, and `collectors.nvml.collector` waits
for each no longer than the deadline. They are handed over together, since waking a thread for each
costs as much as a call. A worker that hangs is left behind with its GPU and another
takes over, so one lost GPU costs the others one deadline, once. At most one worker is left behind
for each GPU: what hangs is not asked again before it has come back.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from queue import Empty, SimpleQueue
from typing import Any, Generic, TypeVar

from collectors.nvml.port import NvmlError, NvmlFailure

T = TypeVar("T")
_TEXT_MAX = 200
_ALL_SHARE = 0.1
"""Of the deadline: how long all are waited for together before each is by itself."""


class _Task(Generic[T]):
    """One call and what it gave."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self.done = threading.Event()
        self.result: T | None = None
        self.error: NvmlError | None = None

    def run(self) -> None:
        try:
            self.result = self._work()
        except NvmlError as error:
            self.error = error
        except Exception as error:  # noqa: BLE001 - else the worker ends, and with it all calls
            text = f"{type(error).__name__}: {error}"[:_TEXT_MAX]
            self.error = NvmlError(NvmlFailure.FAILED, call="call", text=text)
        finally:
            self.done.set()

    def outcome(self) -> "T | NvmlError":
        """What it gave, once it is done."""
        return self.result if self.error is None else self.error  # type: ignore[return-value]


class _Worker:
    """A thread that does tasks until it is told to end."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[_Task[Any] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run()

    def give(self, task: _Task[Any]) -> None:
        self._tasks.put(task)

    def end(self) -> list[_Task[Any]]:
        """After what it does now; a worker that hangs ends when its call comes back. What it has
        not begun is given back."""
        left: list[_Task[Any]] = []
        try:
            while (task := self._tasks.get_nowait()) is not None:
                left.append(task)
        except Empty:
            pass
        self._tasks.put(None)
        return left


class Watch:
    """Calls with a deadline. One thread uses it."""

    def __init__(self, *, deadline_s: float) -> None:
        self.hung: dict[str, threading.Event] = {}
        """Who does not answer; the event is set once the call has come back."""
        self._deadline_s = deadline_s
        self._worker: _Worker | None = None

    def call(self, who: str, work: Callable[[], T]) -> T:
        """What `work` gives. Raises its NvmlError, FAILED for any other error, and HUNG when it
        takes longer than the deadline or when the last call of `who` has still not come back."""
        outcome = self.each({who: work})[who]
        if isinstance(outcome, NvmlError):
            raise outcome
        return outcome

    def each(self, works: Mapping[str, Callable[[], T]]) -> dict[str, T | NvmlError]:
        """The same for several, one after the other, each with the whole deadline: what each gave,
        or its error."""
        tasks: dict[str, _Task[T]] = {}
        outcomes: dict[str, T | NvmlError] = {}
        for who, work in works.items():
            left_behind = self.hung.get(who)
            if left_behind is not None and not left_behind.is_set():
                text = "the last call has not come back"
                outcomes[who] = NvmlError(NvmlFailure.HUNG, call=who, text=text)
                continue
            self.hung.pop(who, None)
            tasks[who] = _Task(work)
        self._give(list(tasks.values()))
        if tasks:  # mostly all are done within milliseconds: one wait, not one for each
            list(tasks.values())[-1].done.wait(_ALL_SHARE * self._deadline_s)
        for who, task in tasks.items():
            # Those before it are done or left behind: it began when this wait does, or earlier.
            if task.done.wait(self._deadline_s):
                outcomes[who] = task.outcome()
                continue
            self.hung[who] = task.done
            text = f"no answer in {self._deadline_s:g} s"
            outcomes[who] = NvmlError(NvmlFailure.HUNG, call=who, text=text)
            worker, self._worker = self._worker, None
            self._give([] if worker is None else worker.end())
        return outcomes

    def _give(self, tasks: Sequence[_Task[Any]]) -> None:
        if not tasks:
            return
        self._worker = self._worker or _Worker("nvml")
        for task in tasks:
            self._worker.give(task)

    def close(self) -> None:
        """End the worker when it has nothing to do."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None
