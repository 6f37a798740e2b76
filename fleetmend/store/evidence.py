"""What people see and say about an incident: evidence charts, notes, confirmed causes."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from sqlalchemy import func, select

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId
from fleetmend.store.codec import Codec, plain
from fleetmend.store.db import Db
from fleetmend.store.tables import labels, notes, series
from fleetmend.store.thinning import Points, thinned

_NUMBERS = Codec(tuple[float, ...])
_NOTE_CHARS_MAX = 4000
_NAME_CHARS_MAX = 200


@dataclass(frozen=True, slots=True)
class Series:
    """One signal of one entity around an incident, for a chart."""

    incident: str
    entity: EntityId
    signal: str
    unit: str
    times_s: tuple[float, ...]
    """Unix seconds, as many as `values`."""
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Note:
    """What a person wrote."""

    incident: str
    by: str
    at_s: float
    text: str


class LabelVerdict(StrEnum):
    """What a person says of a cause."""

    CONFIRM = "confirm"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class Label:
    """A person's verdict on one cause of an incident."""

    incident: str
    cause: str
    entity: EntityId
    verdict: LabelVerdict
    by: str
    at_s: float


class EvidenceSeries:
    """Evidence charts: bounded in points and number, extended while the incident goes on and never
    cut back."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def extend(
        self, incident: str, entity: EntityId, signal: str, points: Points, unit: str
    ) -> bool:
        """Add the points (values in `unit`) that are newer than those held, thinned to
        `series_points_max`; False when the incident has `series_max` other charts already. Points
        that are no number are left out. Raises BadInput when there are not as many times as
        values."""
        new_s, new = points
        if len(new_s) != len(new):
            raise BadInput(f"{len(new_s)} times for {len(new)} values", where=f"chart {signal}")
        here = (
            (series.c.incident == incident)
            & (series.c.entity == entity)
            & (series.c.signal == signal)
        )
        held = self._db.row(select(series.c.times, series.c.samples).where(here))
        if held is None:
            others = select(func.count()).where(series.c.incident == incident)
            if self._db.number(others) >= self._db.settings.series_max:
                return False
        old_s, old = (np.array(column, np.float64) for column in held or ((), ()))
        newer = np.isfinite(new_s) & np.isfinite(new)
        newer &= new_s > (old_s[-1] if len(old_s) else -np.inf)
        order = np.argsort(new_s[newer], kind="stable")
        whole = (
            np.concatenate((old_s, new_s[newer][order])),
            np.concatenate((old, new[newer][order])),
        )
        time_s, value = thinned(whole, self._db.settings.series_points_max)
        insert = self._db.insert(series).values(
            incident=incident,
            entity=entity,
            signal=signal,
            unit=unit,
            times=_NUMBERS.encode(tuple(time_s.tolist())),
            samples=_NUMBERS.encode(tuple(value.tolist())),
        )
        changed = {name: insert.excluded[name] for name in ("unit", "times", "samples")}
        self._db.run(
            insert.on_conflict_do_update(
                index_elements=["incident", "entity", "signal"], set_=changed
            )
        )
        return True

    def for_incident(self, incident: str) -> list[Series]:
        """All charts, in order of entity and signal."""
        rows = self._db.rows(
            select(series)
            .where(series.c.incident == incident)
            .order_by(series.c.entity, series.c.signal)
        )
        return [
            Series(
                incident=row.incident,
                entity=EntityId(row.entity),
                signal=row.signal,
                unit=row.unit,
                times_s=_NUMBERS.decode(row.times),
                values=_NUMBERS.decode(row.samples),
            )
            for row in rows
        ]


class Notes:
    """Notes of people on an incident."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def add(self, incident: str, by: str, at_s: float, text: str) -> Note:
        """Keep it, cut at 4,000 characters. The incident must be held."""
        note = Note(incident, plain(by, _NAME_CHARS_MAX), at_s, plain(text, _NOTE_CHARS_MAX))
        self._db.run(
            notes.insert().values(incident=incident, by=note.by, at_s=at_s, text=note.text)
        )
        return note

    def for_incident(self, incident: str) -> list[Note]:
        """In the order in which they were written."""
        rows = self._db.rows(
            select(notes).where(notes.c.incident == incident).order_by(notes.c.seq)
        )
        return [Note(row.incident, row.by, row.at_s, row.text) for row in rows]


class Labels:
    """Causes that people confirmed or rejected. A person's later word replaces the earlier."""

    def __init__(self, db: Db) -> None:
        self._db = db

    def put(
        self,
        incident: str,
        cause: str,
        entity: EntityId,
        verdict: LabelVerdict,
        by: str,
        at_s: float,
    ) -> Label:
        """Keep it. The incident must be held."""
        label = Label(incident, cause, entity, verdict, plain(by, _NAME_CHARS_MAX), at_s)
        insert = self._db.insert(labels).values(
            incident=incident,
            cause=cause,
            entity=entity,
            by=label.by,
            verdict=verdict.value,
            at_s=at_s,
        )
        changed = {"verdict": insert.excluded.verdict, "at_s": insert.excluded.at_s}
        key = ["incident", "cause", "entity", "by"]
        self._db.run(insert.on_conflict_do_update(index_elements=key, set_=changed))
        return label

    def for_incident(self, incident: str) -> list[Label]:
        """In order of time."""
        rows = self._db.rows(
            select(labels)
            .where(labels.c.incident == incident)
            .order_by(labels.c.at_s, labels.c.cause, labels.c.entity, labels.c.by)
        )
        return [
            Label(
                incident=row.incident,
                cause=row.cause,
                entity=EntityId(row.entity),
                verdict=LabelVerdict(row.verdict),
                by=row.by,
                at_s=row.at_s,
            )
            for row in rows
        ]
