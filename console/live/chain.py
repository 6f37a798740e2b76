"""Is the audit chain whole? Walked on in steps as records come, and from the start again now and
then, because a record can be changed behind a walker's back."""

from dataclasses import dataclass

from fleetmend.clock import Clock
from fleetmend.model.audit import GENESIS, Breach, verify_chain
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
        self._seq = 0
        self._hash = GENESIS
        self._began_s = clock.monotonic_s()
        self.state = ChainState()

    def step(self) -> ChainState:
        """Walk on by at most 2,000 records. Raises StoreError."""
        if self._clock.monotonic_s() - self._began_s >= self._recheck_s:
            self._seq, self._hash, self._began_s = 0, GENESIS, self._clock.monotonic_s()
        with self._store.reading() as tx:
            records = tx.audit.page(self._seq, STEP_MAX)
            head = tx.audit.head()
        breach = verify_chain(records, start=self._hash, first_seq=self._seq + 1)
        if breach is not None:
            self.state = ChainState(breach.seq - 1, head, self._clock.now_s(), breach)
            return self.state
        if records:
            self._seq, self._hash = records[-1].seq, records[-1].hash
        if self._seq < head and not records:
            breach = Breach(self._seq + 1, "record missing at the end")
        done = self._seq >= head or breach is not None
        at_s = self._clock.now_s() if done else self.state.at_s
        # While the chain is walked again, what was verified before still stands.
        verified = self._seq if done else max(self._seq, self.state.verified_seq)
        self.state = ChainState(verified, head, at_s, breach)
        return self.state
