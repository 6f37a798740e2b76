"""Requests of every engine: waiting in line, running, done, given up. Whole requests, never
fractions, so that nothing is lost: arrived = waiting + running + done + aborted.

Called once a second by `simulator.world`. First come, first served; output lengths are geometric,
so a running request is as likely to end now as at any other time; a request that overflows the KV
cache goes back to the line (a preemption, as in vLLM).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from simulator.layout import Layout
from simulator.pressure import Pressure

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PREFILL_MAX = 0.8
"""Largest share of an engine's time that goes to reading prompts (chunked prefill). Invented."""


@dataclass(frozen=True, slots=True)
class Served:
    """What each engine did in one second; every array has shape (engines,)."""

    admitted: Ints
    done: Ints
    preempted: Ints
    prompt_tokens: Floats
    """Prompt tokens read."""
    generated: Floats
    """Tokens generated."""
    tpot_s: Floats
    """Time per output token."""
    prefill: Floats
    """Share of the second spent reading prompts."""
    wait_p50_s: Floats
    """Median time in line of those admitted; NaN when there were none."""
    wait_p95_s: Floats


class Queues:
    """Counts by engine; `line[:, a]` holds requests that have waited `a` seconds."""

    def __init__(self, layout: Layout, rng: np.random.Generator) -> None:
        count = len(layout.engine_names)
        pool = layout.engine_pool
        self._rng = rng
        self.line: Ints = np.zeros((count, layout.settings.load.client_timeout_s), np.int64)
        self._line_tokens = np.zeros_like(self.line, np.float64)
        self.running: Ints = np.zeros(count, np.int64)
        self._held_prompt = np.zeros(count)
        self._held_output = np.zeros(count)
        self.arrived: Ints = np.zeros(count, np.int64)
        self.finished: Ints = np.zeros(count, np.int64)
        self.aborted: Ints = np.zeros(count, np.int64)
        """Requests that ended without their answer: clients gave up, or the engine died."""
        self._slots = np.array([p.slots for p in layout.pools])[pool]
        self._output = np.array([p.output_tokens for p in layout.pools])[pool]
        self._prefill = np.array([p.prefill_tokens_per_s for p in layout.pools])[pool]
        self._kv = np.array([p.kv_tokens for p in layout.pools])[pool]

    @property
    def waiting(self) -> Ints:
        """Requests in line, shape (engines,)."""
        return np.asarray(self.line.sum(axis=1))

    def kv_usage(self, pressure: Pressure) -> Floats:
        """Share of the KV cache in use, at most 1."""
        held = self._held_prompt + self._held_output
        return np.minimum(held / (self._kv * pressure.engine_kv), 1.0)

    def drop(self, engines: Ints) -> None:
        """These engines lose everything they have in hand."""
        self.aborted[engines] += self.running[engines] + self.line[engines].sum(axis=1)
        self.line[engines] = 0
        self._line_tokens[engines] = 0
        self.running[engines] = 0
        self._held_prompt[engines] = 0
        self._held_output[engines] = 0

    def leave(self, engines: Ints, share: float) -> None:
        """Clients of these engines close this share of their connections: what ran for them stops
        where it was, what waited goes. No counter of an engine tells it (measured on vLLM)."""
        gone = self._rng.binomial(self.running[engines], share)
        before = np.maximum(self.running[engines], 1)
        self._held_prompt[engines] *= 1 - gone / before
        self._held_output[engines] *= 1 - gone / before
        self.running[engines] -= gone
        waited = self._rng.binomial(self.line[engines], share)
        each = np.divide(
            waited, self.line[engines], out=np.zeros(waited.shape), where=self.line[engines] > 0
        )
        self._line_tokens[engines] *= 1 - each
        self.line[engines] -= waited
        self.aborted[engines] += gone + waited.sum(axis=1)

    def step(
        self,
        came: Ints,
        prompt_tokens: Floats,
        *,
        step_s: Floats,
        working: NDArray[np.bool_],
        pressure: Pressure,
    ) -> Served:
        """One second. `came` requests with `prompt_tokens` each reach every engine; only engines
        that are `working` (engines,) admit and decode."""
        self._age(came, prompt_tokens)
        admitted, read, p50, p95 = self._admit(working, pressure)
        prefill = np.minimum(read / self._prefill, PREFILL_MAX)
        tpot = step_s / (1 - prefill)
        done = self._rng.binomial(self.running, -np.expm1(-1 / (tpot * self._output)))
        done = np.where(working, done, 0)
        keep = 1 - np.divide(done, self.running, out=np.zeros(len(done)), where=self.running > 0)
        self._held_prompt *= keep
        self._held_output *= keep
        self.running -= done
        self.finished += done
        generated = np.asarray(np.where(working, self.running / tpot, 0.0) + admitted, np.float64)
        self._held_output += generated
        preempted = self._preempt(pressure)
        return Served(admitted, done, preempted, read, generated, tpot, prefill, p50, p95)

    def _age(self, came: Ints, prompt_tokens: Floats) -> None:
        """Everybody in line is a second older; who has waited too long leaves."""
        self.aborted += self.line[:, -1]
        self.line[:, 1:] = self.line[:, :-1]
        self._line_tokens[:, 1:] = self._line_tokens[:, :-1]
        self.line[:, 0] = came
        self._line_tokens[:, 0] = came * prompt_tokens
        self.arrived += came

    def _admit(
        self, working: NDArray[np.bool_], pressure: Pressure
    ) -> tuple[Ints, Floats, Floats, Floats]:
        """How many start, the prompt tokens they bring, and how long they waited (median, 95 %)."""
        waiting = self.waiting
        tokens = self._line_tokens.sum(axis=1)
        mean = np.maximum(
            np.divide(tokens, waiting, out=np.ones(len(tokens)), where=waiting > 0), 1
        )
        slots = np.maximum(np.floor(self._slots * pressure.engine_slots), 1)
        free = self._kv * pressure.engine_kv - self._held_prompt - self._held_output
        room = np.minimum(slots - self.running, free / mean)
        room = np.minimum(room, np.maximum(PREFILL_MAX * self._prefill / mean, 1))
        start = np.clip(np.floor(room), 0, waiting).astype(np.int64)
        start = np.where(working, start, 0)
        # Oldest first: how many of each age start, from the far end of the line.
        upto = np.cumsum(self.line[:, ::-1], axis=1)
        taken = np.clip(start[:, None] - (upto - self.line[:, ::-1]), 0, self.line[:, ::-1])
        p50, p95 = _waits(taken, start)
        taken = taken[:, ::-1]
        part = np.divide(taken, self.line, out=np.zeros(taken.shape), where=self.line > 0)
        read = self._line_tokens * part
        self._line_tokens -= read
        self.line -= taken
        self.running += start
        total = np.asarray(read.sum(axis=1))
        self._held_prompt += total
        return start, total, p50, p95

    def _preempt(self, pressure: Pressure) -> Ints:
        """Put requests back in line until what runs fits the KV cache."""
        held = self._held_prompt + self._held_output
        over = held - self._kv * pressure.engine_kv
        if not (over > 0).any():
            return np.zeros(len(over), np.int64)
        each = np.divide(held, self.running, out=np.ones(len(held)), where=self.running > 0)
        back = np.ceil(np.maximum(over, 0) / np.maximum(each, 1)).astype(np.int64)
        back = np.minimum(back, np.maximum(self.running - 1, 0))
        share = np.divide(back, self.running, out=np.zeros(len(held)), where=self.running > 0)
        self._line_tokens[:, 0] += self._held_prompt * share
        self.line[:, 0] += back
        self.running -= back
        self._held_prompt *= 1 - share
        self._held_output *= 1 - share
        return back


def _waits(taken: Ints, start: Ints) -> tuple[Floats, Floats]:
    """Median and 95 % quantile of ages, given counts by age with the oldest first."""
    upto = np.cumsum(taken, axis=1)
    oldest = taken.shape[1] - 1
    # With the oldest first, half of them stand before the median and 5 % before the 95 % quantile.
    p50 = oldest - np.argmax(upto >= 0.5 * start[:, None], axis=1)
    p95 = oldest - np.argmax(upto >= np.maximum(0.05 * start[:, None], 1), axis=1)
    none = start == 0
    return np.where(none, np.nan, p50), np.where(none, np.nan, p95)
