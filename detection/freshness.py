"""How fresh something is, from how long it has been silent: where silence gets its name.

Pure and in event time: the same ages give the same states, live and in a replay. Called by
`detection.ledger` for entities and for their signals.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from detection.robust import Floats
from fleetmend.model.coverage import Freshness

Codes = NDArray[np.int8]
"""States as indices into `STATES`; `UNEXPECTED` where nothing is expected."""

STATES = tuple(Freshness)
CODE = {state: np.int8(code) for code, state in enumerate(STATES)}
UNEXPECTED = np.int8(-1)

LATE_GAPS = 2.0
"""Usual gaps without a word after which something is late: one may be lost on the way."""
_CAP_GAPS = 1.5
"""However long the cap: a word that is not due yet is not missed."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long is waited."""

    gaps: float
    """Usual gaps without a word after which something is missing."""
    least_s: float
    """Least silence that counts as missing."""
    most_s: float
    """Silence that always counts, however long the usual gaps are."""
    frozen_s: float
    """Stillness of what always moves that counts as frozen."""

    def allowed_s(self, usual_s: Floats) -> Floats:
        """Silence that is borne from something that usually speaks every `usual_s`."""
        most_s = np.maximum(self.most_s, _CAP_GAPS * usual_s)
        allowed: Floats = np.clip(self.gaps * usual_s, self.least_s, most_s)
        return allowed


def judge(*, silence_s: Floats, usual_s: Floats, still_s: Floats, patience: Patience) -> Codes:
    """The state of each, all of one shape.

    `silence_s`: seconds since the last word, infinite where there was none; `usual_s`: longest
    usual distance between two words; `still_s`: for how long what always moves has not, 0 where
    stillness says nothing."""
    codes = np.full(silence_s.shape, CODE[Freshness.FRESH], np.int8)
    codes[silence_s > LATE_GAPS * usual_s] = CODE[Freshness.LATE]
    codes[still_s >= patience.frozen_s] = CODE[Freshness.FROZEN]
    codes[silence_s > patience.allowed_s(usual_s)] = CODE[Freshness.ABSENT]
    codes[np.isinf(silence_s)] = CODE[Freshness.NEVER]
    return codes
