"""Odd combinations: an isolation forest per cohort on causal features (Liu, Ting, Zhou 2008).

A cohort is a kind of entity and its model. The forest is fitted on the cohort's own first calm
minute, again when it has seen twice as much and on a schedule while all is calm, and says only that
a combination was not seen in calm; alone it is never believed above low confidence (`fuse.py`).
Fails for faults that were there while it learnt. Its memory is arrays, so snapshots need no pickle.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from detection.base import Opinion
from detection.blocks import Block
from detection.cells import Cells
from detection.features import PER_SIGNAL, features, signals_of
from detection.frame import Frame
from detection.robust import Floats
from detection.saved import join, part
from detection.streaks import Flags, Streaks
from detection.symptoms import moved
from detection.trees import Trees, fit
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import Json, State

_ROWS_KEPT = 2048
_ROWS_MIN = 32
_ROWS_A_TICK = 2000
"""Rows scored in one tick; larger cohorts take turns."""
_MARGIN = 0.1
_MARGIN_ROWS = 10.0
"""How far beyond the calm quantile a score must lie, in distances of that quantile from the median:
a tenth, and more where few rows were seen."""
_AWAY = 2.5
_AWAY_SIGNALS = 2
"""A combination counts when so many signals are so many robust deviations away: beyond its training
a forest saturates, so its score alone says little about how odd a row is."""
_PROBATION = 8
"""Ticks that a row waits before it is believed to be calm; the span of its own features."""
_SETTLED = 15
"""Words of an entity before its rows are learnt from: its normal levels settle first."""
_SHOWN = 4
_WORTH_SHOWING = 2.0
_CONFIDENCE = 0.3
_ARRAYS = ("feature", "threshold", "path")


@dataclass(slots=True)
class _Cohort:
    """What one cohort has learnt."""

    rows: Floats
    """Calm rows, newest last."""
    calm_ticks: int = 0
    fits: int = 0
    fitted_tick: int = -1
    fitted_rows: int = 0
    threshold: float = -1.0
    trees: Trees | None = field(default=None)


@dataclass(frozen=True, slots=True)
class _Index:
    """The numbers of a saved cohort."""

    calm_ticks: int
    fits: int
    fitted_tick: int
    fitted_rows: int
    threshold: float
    usual: float | None


_INDEX = TypeAdapter(_Index)
_NAMES = TypeAdapter(list[str])
_LENGTHS = TypeAdapter(dict[str, int])


class Forest:
    """Scores rows against their cohort's forest."""

    name = "forest"

    def __init__(self, settings: DetectionSettings) -> None:
        self._set = settings
        self._cohorts: dict[str, _Cohort] = {}
        self._calm = Cells(per_signal=False, ticks=0)
        self._waiting: dict[str, list[tuple[NDArray[np.float32], Flags]]] = {}
        """Features and heard rows of the last ticks, by block, oldest first."""
        self._streaks = Streaks(need=settings.votes_needed, of=settings.votes_of)

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each entity whose combination of signals is odd."""
        opinions: list[Opinion] = []
        for kind in (EntityKind.GPU, EntityKind.ENGINE, EntityKind.NODE):
            block = frame.blocks.get(kind)
            if block is not None and block.shape[0]:
                opinions += self._of_block(frame, kind, block)
        return opinions

    def _of_block(self, frame: Frame, kind: EntityKind, block: Block) -> list[Opinion]:
        made = features(frame, block)
        heard = frame.hearing.heard(block)
        proven, rows_then = self._proven(frame, block, made, heard)
        odd, looked = np.zeros(block.shape[0], bool), np.zeros(block.shape[0], bool)
        for name, rows in frame.links.cohorts[kind].items():
            width = PER_SIGNAL * len(signals_of(block.name))
            cohort = self._cohorts.setdefault(name, _Cohort(np.zeros((0, width))))
            calm = rows[rows < len(proven)]
            calm = calm[proven[calm]]
            self._learn(frame, name, cohort, rows_then[calm])
            if cohort.trees is None:
                continue
            turns = -(-len(rows) // _ROWS_A_TICK)
            now = rows[(rows + frame.tick) % turns == 0]
            now = now[heard[now]]
            looked[now] = True
            if len(now):
                away = (np.abs(made[now, ::PER_SIGNAL]) >= _AWAY).sum(axis=1) >= _AWAY_SIGNALS
                odd[now] = away & (cohort.trees.scores(made[now]) < cohort.threshold)
        holds = self._streaks.feed(block, odd, looked)
        return [self._opinion(frame, block, int(row), made[row]) for row in np.flatnonzero(holds)]

    def _proven(
        self, frame: Frame, block: Block, made: Floats, heard: Flags
    ) -> tuple[Flags, Floats]:
        """The rows of some ticks ago, and which of them have proven to be calm: nothing disturbed
        the entity for as long before and since. What a fault does in its first seconds, before it
        is noticed, is not learnt for normal."""
        calm = frame.normal.calm(block) & (frame.hearing.times(block) >= _SETTLED)
        streak = self._calm.of(block)["ticks"]
        streak[:] = np.where(calm, streak + 1, 0)
        waiting = self._waiting.setdefault(block.name, [])
        waiting.append((made.astype(np.float32), heard))
        if len(waiting) <= _PROBATION:
            return np.zeros(0, bool), made
        rows_then, heard_then = waiting.pop(0)
        proven = heard_then & (streak[: len(heard_then)] >= 2 * _PROBATION)
        return proven, rows_then.astype(np.float64)

    def _learn(self, frame: Frame, name: str, cohort: _Cohort, calm: Floats) -> None:
        """Remember calm rows; fit when there are enough, and again when it is time."""
        if len(calm):
            cohort.calm_ticks += 1
            per_tick = max(1, _ROWS_KEPT // frame.ticks(self._set.forest_calm_s))
            taken = calm[:: max(1, len(calm) // per_tick)]
            cohort.rows = np.concatenate([cohort.rows, taken])[-_ROWS_KEPT:]
        ready = cohort.calm_ticks >= frame.ticks(self._set.forest_calm_s)
        age = frame.tick - cohort.fitted_tick
        due = (
            cohort.trees is None
            or len(cohort.rows) >= 2 * cohort.fitted_rows
            or age >= frame.ticks(self._set.forest_refit_s)
        )
        if not (ready and due and len(calm) and len(cohort.rows) >= _ROWS_MIN):
            return
        seed = (self._set.seed + zlib.crc32(name.encode()) + cohort.fits) % 2**31
        cohort.trees = fit(
            cohort.rows, trees=self._set.forest_trees, samples=self._set.forest_samples, seed=seed
        )
        scores = cohort.trees.scores(cohort.rows)
        edge, middle = np.quantile(scores, [1.0 - self._set.forest_quantile, 0.5])
        margin = _MARGIN + _MARGIN_ROWS / len(cohort.rows)
        cohort.threshold = float(edge - margin * (middle - edge))
        cohort.fits, cohort.fitted_tick = cohort.fits + 1, frame.tick
        cohort.fitted_rows = len(cohort.rows)

    def _opinion(self, frame: Frame, block: Block, row: int, made: Floats) -> Opinion:
        onset_s = frame.seconds(self._streaks.since(block, row))
        return Opinion(
            detector=self.name,
            entity=block.entities[row],
            key="combination",
            reason="odd_combination",
            witness=Witness.MODEL,
            confidence=_CONFIDENCE,
            symptoms=_explain(frame, block, row, made, onset_s),
            onset_s=onset_s,
        )

    def snapshot(self) -> State:
        """Trees, thresholds, calm rows, and rows on probation."""
        parts: dict[str, State] = {
            "streaks": self._streaks.snapshot(),
            "calm": self._calm.snapshot(),
        }
        for name, cohort in sorted(self._cohorts.items()):
            parts[f"cohort {name}"] = _save(cohort)
        for block, waiting in sorted(self._waiting.items()):
            arrays = {f"rows {at}": rows for at, (rows, _) in enumerate(waiting)}
            heard = {f"heard {at}": flags for at, (_, flags) in enumerate(waiting)}
            parts[f"waiting {block}"] = {**arrays, **heard}
        cohorts: list[Json] = [*sorted(self._cohorts)]
        queues: dict[str, Json] = {block: len(queue) for block, queue in self._waiting.items()}
        return {**join(parts), "cohorts": cohorts, "queues": queues}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._streaks.restore(part(state, "streaks"))
        self._calm.restore(part(state, "calm"))
        self._cohorts = {
            name: _load(part(state, f"cohort {name}"))
            for name in _NAMES.validate_python(state["cohorts"])
        }
        self._waiting = {
            block: [
                (
                    np.asarray(saved[f"rows {at}"], np.float32),
                    np.asarray(saved[f"heard {at}"], bool),
                )
                for at in range(length)
            ]
            for block, length in _LENGTHS.validate_python(state["queues"]).items()
            for saved in [part(state, f"waiting {block}")]
        }


def _explain(
    frame: Frame, block: Block, row: int, made: Floats, onset_s: float
) -> tuple[Symptom, ...]:
    """The signals that deviate most, as symptoms."""
    names = signals_of(block.name)
    level = made[::PER_SIGNAL]
    order = np.argsort(-np.abs(level), kind="stable")[:_SHOWN]
    return tuple(
        moved(
            frame,
            block,
            row,
            names[at],
            Direction.UP if level[at] > 0 else Direction.DOWN,
            onset_s,
        )
        for at in order
        if abs(level[at]) >= _WORTH_SHOWING or at == order[0]
    )


def _save(cohort: _Cohort) -> State:
    index: dict[str, Json] = {
        "calm_ticks": cohort.calm_ticks,
        "fits": cohort.fits,
        "fitted_tick": cohort.fitted_tick,
        "fitted_rows": cohort.fitted_rows,
        "threshold": cohort.threshold,
        "usual": cohort.trees.usual if cohort.trees else None,
    }
    arrays = {name: getattr(cohort.trees, name) for name in _ARRAYS} if cohort.trees else {}
    return {"index": index, "rows": cohort.rows.copy(), **arrays}


def _load(state: State) -> _Cohort:
    index = _INDEX.validate_python(state["index"])
    arrays = {name: np.asarray(state[name]) for name in _ARRAYS} if index.usual is not None else {}
    return _Cohort(
        rows=np.asarray(state["rows"], np.float64),
        calm_ticks=index.calm_ticks,
        fits=index.fits,
        fitted_tick=index.fitted_tick,
        fitted_rows=index.fitted_rows,
        threshold=index.threshold,
        trees=Trees(**arrays, usual=index.usual) if index.usual is not None else None,
    )
