"""Drives one stage: reads, closes ticks, folds, publishes, saves. Recovers after any crash.

Called by `fleetmend.pipeline`, one runner for each stage, each in one thread. The order is what
makes it safe: a cut is in the log before the stage folds, outputs are there before the mark that
calls their tick complete, and a snapshot is saved only after that mark. So a new runner repeats the
logged cuts and publishes again the outputs of one tick at most, and ids make that harmless.
"""

import math

from fleetmend.clock import Clock
from fleetmend.errors import OffsetsLost, StreamError
from fleetmend.ports.deadletters import DeadLetters
from fleetmend.ports.snapshots import SnapshotStore
from fleetmend.settings.streams import TickSettings
from fleetmend.streams.fence import Fence
from fleetmend.streams.fold_run import FoldPorts, FoldRun, RunnerStats
from fleetmend.streams.port import Log
from fleetmend.streams.recovery import find_start, fold_topics
from fleetmend.streams.snapshot import pack, unpack
from fleetmend.streams.stage import Stage
from fleetmend.streams.topics import Topic


class StageRunner:
    """One stage on one log. Not for several threads. Of several runners of one fold the one that
    started last goes on, and the others raise FenceLost for ever."""

    def __init__(
        self,
        stage: Stage,
        log: Log,
        *,
        output: Topic,
        snapshots: SnapshotStore,
        dead_letters: DeadLetters,
        clock: Clock,
        ticks: TickSettings,
        runner: str = "",
    ) -> None:
        """`stage` as it is now is the state to begin from; `output` is the topic that gets its
        marks. `runner` is a name that no other runner of the fold ever has; empty where there can
        be no other. Nothing is read before the first `step`."""
        self.stats = RunnerStats()
        self._stage = stage
        # As bytes: a stage may go on with the very arrays that it restored.
        self._empty = pack(None, stage.snapshot())
        self._topics = fold_topics(log, stage.name, stage.inputs, output)
        fence = Fence(log, self._topics.ticks, fold=stage.name, runner=runner, clock=clock)
        self._ports = FoldPorts(log, snapshots, dead_letters, clock, ticks, fence)
        self._run: FoldRun | None = None
        self._rebuild = False

    @property
    def catching_up(self) -> bool:
        """True until the fold has passed what the log held when it started, or when offsets were
        lost: nothing in the world may be changed on the strength of a state that old."""
        run = self._run  # read once: the figures are read by another thread
        return run is None or run.catching_up

    @property
    def reached_s(self) -> float:
        """The event time that the fold has reached; minus infinity before its first tick."""
        run = self._run
        return -math.inf if run is None else run.reached_s

    def step(self, wait_s: float = 0.0) -> int:
        """Do what there is to do, at most some ticks; returns how much that was (records, ticks,
        partitions found silent), 0 when there was nothing.

        Waits at most `wait_s`, and only when there is nothing to do. After a StreamError the next
        call goes on where this one stopped. Any other error (the stage's own) is passed on as well;
        then the next call starts again from the last snapshot. FenceLost comes when another runner
        has taken over, then and at every later call.
        """
        try:
            if self._run is None:
                self._run = self._start()
            return self._run.work(wait_s)
        except OffsetsLost:
            self._run, self._rebuild = None, True
            self.stats.rebuilds += 1
            return 1
        except StreamError:
            raise
        except BaseException:
            self._run = None
            raise

    def caught_up(self) -> bool:
        """True when the log holds nothing that was not read, at this moment. Ticks may be open."""
        return self._run is not None and self._run.caught_up()

    def _start(self) -> FoldRun:
        """Claim the fold, find out where to go on, and make the stage what it was there."""
        self._ports.fence.take()
        start = find_start(
            self._ports.log, self._ports.snapshots, self._topics, rebuild=self._rebuild
        )
        self._rebuild = False
        self._stage.restore(unpack(self._empty)[1] if start.state is None else start.state)
        return FoldRun(self._stage, self._topics, start, self._ports, self.stats)
