"""One runner of a fold at a time: who holds it is a record in the topic `ticks`.

A runner claims its fold there when it starts; the newest claim counts. `ticks` is one partition, so
everybody reads claims and cuts in the same order, and a cut that lies behind somebody else's claim
is void: whoever wrote it finds that out before it folds (`confirm`), and whoever recovers leaves it
out (`streams.recovery`). So a runner that was replaced, however long it was away, adds nothing to
what the fold decides. See docs/decisions/0006. Used by `streams.runner` and `fold_run`.
"""

from collections.abc import Callable

from fleetmend.clock import Clock
from fleetmend.errors import BadInput, FenceLost, OffsetsLost, StreamError
from fleetmend.model.ticks import Claim, Cut
from fleetmend.streams.codec import decode
from fleetmend.streams.port import Log, Outgoing, RawRecord, TopicPartition
from fleetmend.streams.topics import Topic

FRESH_S = 5.0
"""How old the last look at the claims may be when something is said before its tick. 5: ticks,
which look themselves, come every second."""
_READ_RECORDS = 1000
_READ_WAIT_S = 1.0
_READS_MAX = 30
"""Reads after which a record that we have written must have come back."""


class Fence:
    """The claim of one runner on one fold. With an empty runner nobody else can run the fold
    (replays, tests), and nothing is written or read."""

    def __init__(
        self, log: Log, ticks: TopicPartition, *, fold: str, runner: str, clock: Clock
    ) -> None:
        """`runner` is unique among all runners that there ever are of the fold."""
        self.runner = runner
        self._log = log
        self._ticks = ticks
        self._fold = fold
        self._clock = clock
        self._position: int | None = None
        """The next offset of `ticks` to look at; None before the claim."""
        self._holder = ""
        """Whose the newest claim is that we have read; empty until it is ours for the first
        time."""
        self._looked_s = 0.0

    @property
    def position(self) -> int:
        """The offset in `ticks` up to which this runner knows who holds the fold."""
        return self._log.end(self._ticks) if self._position is None else self._position

    def take(self) -> None:
        """Claim the fold, once; later calls make sure that it is still held. Raises FenceLost,
        StreamError."""
        if not self.runner:
            return
        if self._holder:
            self.check()
            return
        if self._position is None:
            self._position = self._log.end(self._ticks)
        claim = Claim(self._fold, self.runner, self._clock.now_s())
        self._log.append([Outgoing(Topic.TICKS, self._fold, claim)])
        self._look_for(lambda payload: payload == claim)
        self._held()

    def confirm(self, cut: Cut) -> None:
        """Make sure that a cut of ours, which is in the log, counts. Raises FenceLost, and
        StreamError when the log cannot say so now."""
        if self.runner:
            self._look_for(lambda payload: payload == cut)
            self._held()

    def check(self, *, older_than_s: float = 0.0) -> None:
        """Make sure that nobody has claimed the fold since, if the last look is older than that.
        Raises FenceLost, StreamError."""
        if not self.runner or self._clock.monotonic_s() - self._looked_s < older_than_s:
            return
        end = self._log.end(self._ticks)
        while self._position is not None and self._position < end:
            for raw in self._read():
                self._see(raw)
        self._held()

    def _look_for(self, found: Callable[[object], bool]) -> None:
        """Read on to a record that we have written."""
        for _ in range(_READS_MAX):
            for raw in self._read():
                if found(self._see(raw)):
                    return
        raise StreamError("what was written does not come back", where=str(self._ticks))

    def _read(self) -> list[RawRecord]:
        assert self._position is not None  # noqa: S101  every caller has taken the fold
        try:
            return self._log.read(
                {self._ticks: self._position}, limit=_READ_RECORDS, wait_s=_READ_WAIT_S
            )
        except OffsetsLost:  # nobody has cut or claimed for as long as the topic is kept
            self._position = self._log.begin(self._ticks)
            return []

    def _see(self, raw: RawRecord) -> object:
        """Take in one record; what it says, None for what cannot be understood."""
        self._position = raw.offset + 1
        try:
            payload = decode(raw).payload
        except BadInput:
            return None
        match payload:
            case Claim(fold=self._fold, runner=runner) if self._holder or runner == self.runner:
                self._holder = runner
        return payload

    def _held(self) -> None:
        self._looked_s = self._clock.monotonic_s()
        if self._holder != self.runner:
            raise FenceLost(
                f"runner {self._holder} has taken over",
                where=f"fold {self._fold}",
                fix="Run one of each; restart this one to take the fold back.",
            )
