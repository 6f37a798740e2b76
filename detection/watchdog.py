"""Forward progress of engines: those that have work, or had, and do nothing.

Witnesses are the engine's counters, its GPUs' activity, its probe, its log and its silence; two
must agree, or one must stand for long where there is no second to ask. A full queue is no hang as
long as tokens come. Memory still held tells a hang from a crash; memory given back tells the
reverse.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from detection.activity import Activity
from detection.base import Opinion
from detection.blocks import Block
from detection.cells import Cells
from detection.frame import Frame
from detection.links import Pairs
from detection.rules.tables import signature_policy
from detection.saved import join, part
from detection.streaks import Flags, Streaks
from detection.symptoms import moved, present
from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.model.events import EventType, Witness
from fleetmend.model.findings import Direction, Symptom
from fleetmend.settings.detection import DetectionSettings
from fleetmend.streams.stage import Json, State

_DEATH_S = 30.0
"""How long a death in the log explains what follows."""
_SILENT_TICKS = 3
_GAPS_TO_SILENCE = 1.5
"""An engine that says nothing for three ticks and half as long again as its usual gaps is asked for
by its GPUs."""
_UNAVAILABLE = 500.0
_DEATHS = TypeAdapter(list[tuple[str, float, str]])


@dataclass(frozen=True, slots=True)
class _Witnesses:
    """What is known of every engine in one tick; all (rows,)."""

    silent: Flags
    stalled: Flags
    """Heard, work in hand, no tokens for long enough to ask others."""
    stalled_long: Flags
    """The same for so long that nobody need be asked."""
    stalled_longer: Flags
    """Twice as long again."""
    refused: Flags
    has_gpu: Flags
    idle: Flags
    """All its GPUs are idle."""
    spins: Flags
    """One of its GPUs spins: who is to blame is the matter of `ranks.py`."""
    released: Flags
    """One of its GPUs has given its memory back."""
    worked: Flags
    """It had work when it was last heard."""
    mute: Flags
    """Heard, and it takes canary requests without a word: a hang that began while idle shows in
    none of its figures."""


class Watchdog:
    """Engines without progress."""

    name = "watchdog"

    def __init__(self, settings: DetectionSettings, activity: Activity) -> None:
        """`activity` is shared with `ranks.py` and updated by the stage."""
        self._activity = activity
        self._stall_s, self._alone_s = settings.stall_s, settings.stall_alone_s
        self._refused = Streaks(need=2, of=3)
        self._unanswered = Streaks(need=2, of=3)
        self._stalls = Streaks(need=1, of=1)
        self._silences = Streaks(need=1, of=1)
        self._by_ranks = Cells(per_signal=False, told=False)
        """Engines whose silence began with ranks that wait for each other."""
        self._deaths: dict[EntityId, tuple[float, str]] = {}
        """Engine -> (time, signature) of the last line that told of a death."""

    def observe(self, frame: Frame) -> list[Opinion]:
        """One opinion for each engine that should work and does not."""
        self._note_deaths(frame)
        engine = frame.blocks.get(EntityKind.ENGINE)
        if engine is None or not engine.shape[0]:
            return []
        found = self._ask(frame, engine)
        told = self._by_ranks.of(engine)["told"]
        told[:] = (told | found.spins) & ~frame.hearing.heard(engine)
        found = replace(found, silent=found.silent & ~told)
        dead = np.zeros(engine.shape[0], bool)
        dead[[engine.row[entity] for entity in self._deaths if entity in engine.row]] = True
        crashed = found.silent & found.released
        crashed |= (found.refused | dead) & (found.silent | found.stalled)
        hung = found.silent & found.worked & found.has_gpu & found.idle & ~crashed
        stalled = found.stalled & found.has_gpu & found.idle & ~crashed
        alone = found.stalled_long & ~found.has_gpu & ~crashed & ~stalled
        mute = found.mute & ~crashed & ~hung & ~stalled & ~alone
        opinions = []
        for reason, flags, confidence in (
            ("crashed", crashed, 0.9),
            ("hung", hung, 0.9),
            ("stalled", stalled, 0.9),
            ("stalled", alone & ~found.stalled_longer, 0.6),
            ("stalled", alone & found.stalled_longer, 0.75),
            ("stalled", mute, 0.75),
        ):
            for row in np.flatnonzero(flags):
                opinions.append(self._opinion(frame, engine, int(row), found, reason, confidence))
        return opinions

    def _ask(self, frame: Frame, engine: Block) -> _Witnesses:
        rows, hearing = engine.shape[0], frame.hearing
        gap = hearing.gap(engine)
        patience = np.maximum(_SILENT_TICKS, np.ceil(_GAPS_TO_SILENCE * gap))
        silent = hearing.known(engine) & (hearing.silence(engine) >= patience)
        self._silences.feed(engine, silent)
        work = np.nan_to_num(engine.known("engine.requests_running")) + np.nan_to_num(
            engine.known("engine.requests_waiting")
        )
        steps = np.nan_to_num(engine.known("engine.step_rate"))
        tokens = np.nan_to_num(engine.now("engine.generation_tokens")) + np.nan_to_num(
            engine.now("engine.prompt_tokens")
        )
        told = np.isfinite(engine.now("engine.generation_tokens"))
        self._stalls.feed(engine, (work >= 1) & (tokens <= 0), told)
        lasting = self._stalls.holding(engine) & ~silent
        since = self._stalls.begun(engine)
        age_s = np.where(lasting, engine.tick - since + 1, 0) * frame.period_s
        alone_s = np.maximum(self._alone_s, 3 * gap * frame.period_s)
        status = engine.now("engine.probe_status")
        bad = (status == 0) | (np.nan_to_num(status) >= _UNAVAILABLE)
        refused = self._refused.feed(engine, bad, np.isfinite(status))
        answered = engine.now("engine.canary_ok")
        unanswered = self._unanswered.feed(engine, answered == 0, np.isfinite(answered))
        gpu, pairs = frame.blocks.get(EntityKind.GPU), frame.links.engine_gpu
        return _Witnesses(
            silent=silent,
            stalled=lasting & (age_s >= np.maximum(self._stall_s, gap * frame.period_s)),
            stalled_long=lasting & (age_s >= alone_s),
            stalled_longer=lasting & (age_s >= 2 * alone_s),
            refused=refused,
            mute=unanswered & hearing.known(engine) & ~silent & ~refused,
            has_gpu=np.isin(np.arange(rows), pairs.source),
            idle=_all(pairs, self._activity.idle(gpu), rows) if gpu else np.zeros(rows, bool),
            spins=_any(pairs, self._activity.spins(gpu), rows) if gpu else np.zeros(rows, bool),
            released=_any(pairs, self._activity.released(gpu), rows)
            if gpu
            else np.zeros(rows, bool),
            worked=(work >= 1) | (steps > 0),
        )

    def _opinion(
        self,
        frame: Frame,
        engine: Block,
        row: int,
        found: _Witnesses,
        reason: str,
        confidence: float,
    ) -> Opinion:
        entity = engine.entities[row]
        works = not found.silent[row] and bool(self._stalls.holding(engine)[row])
        mute = not found.silent[row] and not works
        streak = self._silences if found.silent[row] else self._stalls
        if mute:
            streak = self._unanswered
        since = streak.since(engine, row)
        if found.silent[row]:
            since = int(frame.hearing.last(engine)[row]) + 1
        onset_s = frame.seconds(since) if since >= 0 else frame.start_s
        symptoms = [present("no_progress", onset_s)]
        witness = Witness.TELEMETRY
        if found.silent[row]:
            symptoms.append(present("telemetry_absent", onset_s))
            witness = Witness.SILENCE
        elif works:
            symptoms.append(
                moved(frame, engine, row, "engine.generation_tokens", Direction.DOWN, onset_s)
            )
        if found.refused[row] or mute:
            symptoms.append(present("probe_failed", onset_s))
            witness = Witness.PROBE
        if entity in self._deaths:
            time_s, signature = self._deaths[entity]
            symptoms.append(present(f"log.{signature}", time_s))
        symptoms += self._gpu_symptoms(frame, engine, row, found, onset_s)
        return Opinion(
            detector=self.name,
            entity=entity,
            key="progress",
            reason=reason,
            witness=witness,
            confidence=confidence,
            symptoms=tuple(symptoms),
            onset_s=onset_s,
        )

    def _gpu_symptoms(
        self, frame: Frame, engine: Block, row: int, found: _Witnesses, onset_s: float
    ) -> list[Symptom]:
        """What the first of its GPUs shows."""
        gpu, targets = frame.blocks.get(EntityKind.GPU), frame.links.engine_gpu.targets_of(row)
        if gpu is None or not len(targets):
            return []
        first = int(targets[0])
        shown: list[Symptom] = []
        if found.released[row]:
            shown.append(present("memory_released", onset_s))
            shown.append(moved(frame, gpu, first, "gpu.sm_clock", Direction.DOWN, onset_s))
        if found.idle[row]:
            shown.append(moved(frame, gpu, first, "gpu.sm_active", Direction.DOWN, onset_s))
        return shown

    def _note_deaths(self, frame: Frame) -> None:
        """Lines that tell of a death: of the engine they name, or of any engine of their node."""
        for event in frame.events:
            signature = str(event.data.get("signature", ""))[:64]
            if event.type is not EventType.LOG_SIGNATURE or not signature_policy(signature).death:
                continue
            for engine in _engines_of(frame, event.subject):
                self._deaths[engine] = (event.time_s, signature)
        self._deaths = {
            entity: death
            for entity, death in self._deaths.items()
            if frame.end_s - death[0] <= _DEATH_S
        }

    def snapshot(self) -> State:
        """Streaks and deaths."""
        deaths: list[Json] = [
            [str(entity), time_s, signature]
            for entity, (time_s, signature) in sorted(self._deaths.items())
        ]
        streaks = {
            "refused": self._refused.snapshot(),
            "unanswered": self._unanswered.snapshot(),
            "stalls": self._stalls.snapshot(),
            "silences": self._silences.snapshot(),
            "ranks": self._by_ranks.snapshot(),
        }
        return {**join(streaks), "deaths": deaths}

    def restore(self, state: State) -> None:
        """Become what `snapshot` saved."""
        self._refused.restore(part(state, "refused"))
        self._unanswered.restore(part(state, "unanswered"))
        self._stalls.restore(part(state, "stalls"))
        self._silences.restore(part(state, "silences"))
        self._by_ranks.restore(part(state, "ranks"))
        self._deaths = {
            EntityId(entity): (time_s, signature)
            for entity, time_s, signature in _DEATHS.validate_python(state["deaths"])
        }


def _engines_of(frame: Frame, subject: EntityId) -> list[EntityId]:
    """The engine itself, or the engines on a node."""
    if kind_of(subject) is EntityKind.ENGINE:
        return [subject]
    engine = frame.blocks.get(EntityKind.ENGINE)
    rows = engine.row if engine is not None else {}
    return [e for e in rows if frame.topology.ancestor(e, EntityKind.NODE) == subject]


def _any(pairs: Pairs, flags: Flags, rows: int) -> NDArray[np.bool_]:
    return np.nan_to_num(pairs.most(flags.astype(float), rows)) > 0


def _all(pairs: Pairs, flags: Flags, rows: int) -> NDArray[np.bool_]:
    return np.nan_to_num(pairs.least(flags.astype(float), rows)) > 0
