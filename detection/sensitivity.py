"""How each signal is judged against its own past: the table `data/sensitivity.csv`.

`role` says what a shift means: harm (somebody waits), fault (something is broken or stolen), load
(work moved; says how things are, accuses nobody). `scale` is the space of comparison; in `log` a
shift is a factor, and `offset` (in the signal's unit) keeps small values from looking like large
factors. `floor` is the least standard deviation that is believed and `change` the least shift that
matters, both in that space. `up` and `down` are the directions watched. `why` argues the numbers.
"""

import csv
import functools
import math
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from detection.robust import Floats
from fleetmend.errors import BadInput


class Role(StrEnum):
    """What a shift of the signal means."""

    HARM = "harm"
    FAULT = "fault"
    LOAD = "load"


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """One row of the table."""

    signal: str
    role: Role
    log: bool
    offset: float
    floor: float
    change: float
    up: bool
    down: bool


@dataclass(frozen=True, slots=True)
class Columns:
    """The rows of the table for the columns of one block, as arrays; unwatched columns have
    neither direction."""

    log: NDArray[np.bool_]
    offset: Floats
    floor: Floats
    change: Floats
    up: NDArray[np.bool_]
    down: NDArray[np.bool_]
    load: NDArray[np.bool_]

    def into(self, values: Floats) -> Floats:
        """Values (rows, columns) in the space of comparison."""
        return np.where(self.log, np.log(np.maximum(values, 0.0) + self.offset), values)

    def back(self, values: Floats) -> Floats:
        """From the space of comparison to the signal's unit."""
        return np.where(self.log, np.exp(np.minimum(values, 80.0)) - self.offset, values)

    def back_one(self, value: float, column: int) -> float:
        """One value of one column, back in the signal's unit."""
        if not self.log[column]:
            return value
        return math.exp(min(value, 80.0)) - float(self.offset[column])


@functools.cache
def sensitivities() -> dict[str, Sensitivity]:
    """The table. Raises BadInput naming the line when it is broken."""
    text = (resources.files("detection") / "data" / "sensitivity.csv").read_text("utf-8")
    found: dict[str, Sensitivity] = {}
    for line, row in enumerate(csv.DictReader(text.splitlines()), 2):
        try:
            found[row["signal"]] = Sensitivity(
                signal=row["signal"],
                role=Role(row["role"]),
                log={"log": True, "linear": False}[row["scale"]],
                offset=float(row["offset"]),
                floor=float(row["floor"]),
                change=float(row["change"]),
                up=row["up"] == "1",
                down=row["down"] == "1",
            )
        except (KeyError, ValueError) as error:
            raise BadInput(str(error), where=f"sensitivity.csv line {line}") from error
    return found


def columns_for(signals: list[str]) -> Columns:
    """The table's rows for these signals, in this order."""
    table = sensitivities()
    rows = [table.get(signal) for signal in signals]
    return Columns(
        log=np.array([row is not None and row.log for row in rows], bool),
        offset=np.array([row.offset if row and row.log else 1.0 for row in rows], float),
        floor=np.array([row.floor if row else 1.0 for row in rows], float),
        change=np.array([row.change if row else np.inf for row in rows], float),
        up=np.array([row is not None and row.up for row in rows], bool),
        down=np.array([row is not None and row.down for row in rows], bool),
        load=np.array([row is None or row.role is Role.LOAD for row in rows], bool),
    )
