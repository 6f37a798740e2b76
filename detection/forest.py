"""Odd combinations: an isolation forest per cohort on causal features (Liu, Ting, Zhou 2008).

A cohort is a kind of entity and its model. The forest is fitted on the cohort's own first calm
minute, again on a schedule while all is calm, and says only that a combination was not seen in
calm; alone it is never believed above low confidence (`fuse.py`). Fails for faults that were there
while it learnt. Its memory is arrays, so snapshots need no pickle.
"""

import zlib
from dataclasses import dataclass, field

import numpy as np
from pydantic import TypeAdapter

from detection.base import Opinion
from detection.blocks import Block
from detection.features import PER_SIGNAL, features, signals_of
from detection.frame import Frame
from detection.robust import Floats
from detection.saved import join, part
from detection.streaks import Streaks
from detection.symptoms import moved
from detection.trees import Trees, fit
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import Json, State

_ROWS_KEPT = 2048
_ROWS_MIN = 40
_ROWS_A_TICK = 2000
"""Rows scored in one tick; larger cohorts take turns."""
_MARGIN = 0.5
"""How far beyond the calm quantile a score must lie, as a share of the distance from the median:
the quantile of a minute's rows is their worst."""
_SHOWN = 4
_WORTH_SHOWING = 2.0
_CONFIDENCE = 0.3
_ARRAYS = ("feature", "threshold", "left", "right", "path")


@dataclass(slots=True)
class _Cohort:
    """What one cohort has learnt."""

    rows: Floats
    """Calm rows, newest last."""
    calm_ticks: int = 0
    fits: int = 0
    fitted_tick: int = -1
    threshold: float = -1.0
    trees: Trees | None = field(default=None)


@dataclass(frozen=True, slots=True)
class _Index:
    """The numbers of a saved cohort."""

    calm_ticks: int
    fits: int
    fitted_tick: int
    threshold: float
    usual: float | None


_INDEX = TypeAdapter(_Index)


class Forest:
    """Scores rows against their cohort's forest."""

    name = "forest"

    def __init__(self, settings: DetectionSettings) -> None:
        self._set = settings
        self._cohorts: dict[str, _Cohort] = {}
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
        calm = heard & frame.normal.calm(block)
        odd, looked = np.zeros(block.shape[0], bool), np.zeros(block.shape[0], bool)
        for name, rows in frame.links.cohorts[kind].items():
            width = PER_SIGNAL * len(signals_of(block.name))
            cohort = self._cohorts.setdefault(name, _Cohort(np.zeros((0, width))))
            self._learn(frame, name, cohort, made[rows[calm[rows]]], bool(calm[rows].all()))
            if cohort.trees is None:
                continue
            turns = -(-len(rows) // _ROWS_A_TICK)
            now = rows[(rows + frame.tick) % turns == 0]
            now = now[heard[now]]
            looked[now] = True
            odd[now] = cohort.trees.scores(made[now]) < cohort.threshold if len(now) else False
        holds = self._streaks.feed(block, odd, looked)
        return [self._opinion(frame, block, int(row), made[row]) for row in np.flatnonzero(holds)]

    def _learn(
        self, frame: Frame, name: str, cohort: _Cohort, calm: Floats, all_calm: bool
    ) -> None:
        """Remember calm rows; fit when there are enough, and again when it is time."""
        if len(calm):
            cohort.calm_ticks += 1
            per_tick = max(1, _ROWS_KEPT // frame.ticks(self._set.forest_calm_s))
            taken = calm[:: max(1, len(calm) // per_tick)]
            cohort.rows = np.concatenate([cohort.rows, taken])[-_ROWS_KEPT:]
        ready = cohort.calm_ticks >= frame.ticks(self._set.forest_calm_s)
        due = cohort.trees is None or frame.tick - cohort.fitted_tick >= frame.ticks(
            self._set.forest_refit_s
        )
        if not (ready and due and all_calm and len(cohort.rows) >= _ROWS_MIN):
            return
        seed = (self._set.seed + zlib.crc32(name.encode()) + cohort.fits) % 2**31
        cohort.trees = fit(
            cohort.rows, trees=self._set.forest_trees, samples=self._set.forest_samples, seed=seed
        )
        scores = cohort.trees.scores(cohort.rows)
        edge, middle = np.quantile(scores, [1.0 - self._set.forest_quantile, 0.5])
        cohort.threshold = float(edge - _MARGIN * (middle - edge))
        cohort.fits, cohort.fitted_tick = cohort.fits + 1, frame.tick

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
        """Trees, thresholds and calm rows."""
        parts: dict[str, State] = {"streaks": self._streaks.snapshot()}
        for name, cohort in sorted(self._cohorts.items()):
            parts[f"cohort {name}"] = _save(cohort)
        names: list[Json] = [*sorted(self._cohorts)]
        return {**join(parts), "cohorts": names}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._streaks.restore(part(state, "streaks"))
        names = state["cohorts"]
        self._cohorts = {
            str(name): _load(part(state, f"cohort {name}"))
            for name in (names if isinstance(names, list) else [])
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
        threshold=index.threshold,
        trees=Trees(**arrays, usual=index.usual) if index.usual is not None else None,
    )
