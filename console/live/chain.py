"""Is the audit chain whole? Walked on in steps as records come, and from the start again now and
then, because a record can be changed behind a walker's back."""

from dataclasses import dataclass

from fleetmend.clock import Clock
from fleetmend.model.audit import Breach, ChainHead
from fleetmend.store import Store

STEP_MAX = 2000


@dataclass(frozen=True, slots=True)
class ChainState:
    """What is known of the chain."""

    verified_seq: int = 0
    """Every record up to this one holds."""
    head_seq: int = 0
    at_s: float | None = None
    """When the end was last reached; None when it has not been yet."""
    breach: Breach | None = None


class ChainWatch:
    """Holds the walk; one step per call."""

    def __init__(self, store: Store, clock: Clock, *, recheck_s: float) -> None:
        self._store = store
        self._clock = clock
        self._recheck_s = recheck_s
        self._walk = store.walk()
        self._proved: ChainHead | None = None
        """The furthest that was verified: every later walk must pass it."""
        self._began_s = clock.monotonic_s()
        self.state = ChainState()

    def step(self) -> ChainState:
        """Walk on by at most 2,000 records. Raises StoreError."""
        if self._clock.monotonic_s() - self._began_s >= self._recheck_s:
            self._walk = self._store.walk(through=self._proved)
            self._began_s = self._clock.monotonic_s()
        with self._store.reading() as tx:
            records = tx.audit.page(self._walk.at.seq, STEP_MAX)
            head = tx.audit.end()
        breach = self._walk.take(records)
        over = breach is not None or len(records) < STEP_MAX
        if breach is None and over:
            breach = self._walk.end(head)
        at, now_s = self._walk.at, self._clock.now_s()
        if breach is not None:
            self.state = ChainState(breach.seq - 1, head.seq, now_s, breach)
            return self.state
        if self._proved is None or at.seq > self._proved.seq:
            self._proved = at
        at_s = now_s if over else self.state.at_s
        # While the chain is walked again, what was verified before still stands.
        verified = at.seq if over else max(at.seq, self.state.verified_seq)
        self.state = ChainState(verified, head.seq, at_s)
        return self.state
