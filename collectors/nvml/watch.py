"""A deadline over calls that may hang: a lost GPU can hold an NVML call for seconds or for good.

Calls are made by one worker thread, one GPU after the other, and `collectors.nvml.collector` waits
for each no longer than the deadline. A worker that hangs is left behind with its GPU and another
takes over, so one lost GPU costs the others one deadline, once. At most one worker is left behind
for each GPU: what hangs is not asked again before it has come back.
"""

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

from collectors.nvml.port import NvmlError, NvmlFailure

T = TypeVar("T")


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
        finally:
            self.done.set()


class _Worker:
    """A thread that does tasks until it is told to end."""

    def __init__(self, name: str) -> None:
        self._tasks: SimpleQueue[_Task[object] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (task := self._tasks.get()) is not None:
            task.run()

    def give(self, task: "_Task[object]") -> None:
        self._tasks.put(task)

    def end(self) -> None:
        """After what it does now; a worker that hangs ends when its call comes back."""
        self._tasks.put(None)


class Watch:
    """Calls with a deadline. One thread uses it."""

    def __init__(self, *, deadline_s: float) -> None:
        self.hung: dict[str, threading.Event] = {}
        """Who does not answer; the event is set once the call has come back."""
        self._deadline_s = deadline_s
        self._worker: _Worker | None = None

    def call(self, who: str, work: Callable[[], T]) -> T:
        """What `work` gives. Raises what it raises, and NvmlError HUNG when it takes longer than
        the deadline or when the last call of `who` has still not come back."""
        left_behind = self.hung.get(who)
        if left_behind is not None:
            if not left_behind.is_set():
                raise NvmlError(NvmlFailure.HUNG, call=who, text="the last call has not come back")
            del self.hung[who]
        worker = self._worker or _Worker("nvml")
        self._worker = worker
        task: _Task[T] = _Task(work)
        worker.give(task)  # type: ignore[arg-type]  # a worker does not look at results
        if not task.done.wait(self._deadline_s):
            self.hung[who] = task.done
            worker.end()
            self._worker = None
            text = f"no answer in {self._deadline_s:g} s"
            raise NvmlError(NvmlFailure.HUNG, call=who, text=text)
        if task.error is not None:
            raise task.error
        return task.result  # type: ignore[return-value]  # done without an error: it is there

    def close(self) -> None:
        """End the worker when it has nothing to do."""
        if self._worker is not None:
            self._worker.end()
            self._worker = None
