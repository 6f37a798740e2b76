"""Public detection sets as they lie in a folder: `smd` and `asd` (`*.npz` with `train`, `test` and
`label`), `nab` (the archive of data and labels). Their READMEs say where they are from.

Called by `public.py`. Nothing here looks at labels but to hand them on.
"""

import csv
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fleetmend.errors import BadInput

ROWS_A_DAY = {"smd": 1440.0, "asd": 288.0}
NAB_GROUPS = ("realAWSCloudwatch", "realKnownCause")
DEVELOPED_ON = frozenset({"machine-1-6", "machine-2-7", "omi-1", "omi-3", "omi-5"})
"""First, third, fifth of the machines that were at hand, in the order of names."""
_NAB_TRAIN_SHARE = 0.15
"""NAB's own probation period."""


@dataclass(frozen=True, slots=True)
class Series:
    """One machine or metric; rows are ticks, columns signals."""

    name: str
    train: NDArray[np.float64]
    test: NDArray[np.float64]
    labels: NDArray[np.int64]
    """Of the test rows, 1 in an event."""
    developed_on: bool
    """Whether its labels were looked at while the detector was chosen: of a set in the order of
    names the first, third and so on."""


def load(folder: Path, name: str) -> list[Series]:
    """The series of a set, by name; none without an event. BadInput says what is missing."""
    found = list(_nab(folder / "nab") if name == "nab" else _arrays(folder / name))
    if not found:
        raise BadInput(
            f"{folder / name}: no series; --data wants a folder with smd/machine-*.npz,"
            " asd/omi-*.npz and nab/nab_data_labels.tgz"
        )
    return found


def _arrays(folder: Path) -> Iterator[Series]:
    for path in sorted(folder.glob("*.npz")):
        with np.load(path, allow_pickle=False) as held:
            yield Series(
                path.stem,
                held["train"].astype(np.float64),
                held["test"].astype(np.float64),
                held["label"].astype(np.int64),
                developed_on=path.stem in DEVELOPED_ON,
            )


def _nab(folder: Path) -> Iterator[Series]:
    archive = folder / "nab_data_labels.tgz"
    if not archive.exists():
        return
    with tarfile.open(archive) as packed:
        held = {
            member.name: packed.extractfile(member)
            for member in packed.getmembers()
            if member.isfile()
        }
        texts = {
            name.removeprefix("./"): io.TextIOWrapper(part, "utf-8").read()
            for name, part in held.items()
            if part is not None and name.endswith((".csv", ".json"))
        }
    spans = json.loads(texts["labels/combined_windows.json"])
    for name in sorted(spans):
        if name.startswith(NAB_GROUPS):
            series = _of_csv(name, texts[f"data/{name}"], spans[name])
            if series.labels.any():
                yield series


def _of_csv(name: str, text: str, spans: list[list[str]]) -> Series:
    rows = list(csv.DictReader(io.StringIO(text)))
    times = [datetime.fromisoformat(row["timestamp"]) for row in rows]
    values = np.array([[float(row["value"])] for row in rows])
    labels = np.zeros(len(rows), np.int64)
    for first, last in spans:
        labels |= _between(times, first, last)
    cut = int(_NAB_TRAIN_SHARE * len(rows))
    return Series(name, values[:cut], values[cut:], labels[cut:], developed_on=False)


def _between(times: list[datetime], first: str, last: str) -> NDArray[Any]:
    begin, end = datetime.fromisoformat(first), datetime.fromisoformat(last)
    return np.array([begin <= time <= end for time in times], np.int64)
