"""How busy each engine is, taken from the samples that the scraper of this process sends.

The composition root puts a `LoadTap` between the scraper and its sink. A probe that knows of a
queue does not join it; a golden prompt is sent alone.
"""

from dataclasses import dataclass

import numpy as np

from collectors.sink import Sink
from fleetmend.model.entities import EntityId, TopologyChange
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch

_RUNNING = "engine.requests_running"
_WAITING = "engine.requests_waiting"
_TOKENS = "engine.generation_tokens"


@dataclass(frozen=True, slots=True)
class Load:
    """What an engine's page said last."""

    at_s: float
    running: float | None = None
    waiting: float | None = None
    tokens: float | None = None
    moves: bool = False
    """Tokens came out between the last two pages."""

    @property
    def alone(self) -> bool:
        """Nothing is in hand."""
        return self.running == 0 and not self.waiting

    @property
    def busy(self) -> bool:
        """Requests wait and tokens come: it lives, and one request more would only wait too."""
        return bool(self.waiting) and self.moves


class Loads:
    """The newest load of each engine. Written by the scraper's thread and read by the probe's: each
    load is one object and is replaced as a whole."""

    def __init__(self) -> None:
        self._loads: dict[EntityId, Load] = {}

    def of(self, engine: EntityId, *, now_s: float, fresh_s: float) -> Load | None:
        """The load of an engine unless what is known is older than `fresh_s`."""
        load = self._loads.get(engine)
        return load if load is not None and now_s - load.at_s <= fresh_s else None

    def note(self, batch: SampleBatch) -> None:
        """Take in what a page gave."""
        codes = {name: code for code, name in enumerate(batch.signals)}
        wanted = [codes[name] for name in (_RUNNING, _WAITING, _TOKENS) if name in codes]
        rows = np.flatnonzero(np.isin(batch.signal, wanted))
        said: dict[EntityId, dict[str, float]] = {}
        at_s: dict[EntityId, float] = {}
        for row in rows.tolist():
            engine = EntityId(batch.entities[int(batch.entity[row])])
            said.setdefault(engine, {})[batch.signals[int(batch.signal[row])]] = float(
                batch.value[row]
            )
            at_s[engine] = float(batch.time_s[row])
        for engine, values in said.items():
            before, tokens = self._loads.get(engine), values.get(_TOKENS)
            past = None if before is None else before.tokens
            moves = past is not None and tokens is not None and tokens > past
            running, waiting = values.get(_RUNNING), values.get(_WAITING)
            self._loads[engine] = Load(at_s[engine], running, waiting, tokens, moves)


class LoadTap:
    """A sink that notes loads and hands everything on."""

    def __init__(self, sink: Sink, loads: Loads) -> None:
        self._sink = sink
        self._loads = loads

    def samples(self, batch: SampleBatch, node: str) -> None:
        """Samples of one node."""
        self._loads.note(batch)
        self._sink.samples(batch, node)

    def event(self, event: Event) -> None:
        """One event."""
        self._sink.event(event)

    def topology(self, change: TopologyChange) -> None:
        """One change of the fleet."""
        self._sink.topology(change)

    def mark(self, at_s: float) -> None:
        """A promise of the scraper."""
        self._sink.mark(at_s)
