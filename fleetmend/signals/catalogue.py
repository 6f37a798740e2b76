"""The signal catalogue: one list of canonical signals, and how every source's names lead to them.

Collectors look names up here; detection, rca and the console read units, shapes and meanings. The
tables under `data/` are the truth; nothing else in the house knows a source's metric name.
Names that the catalogue does not know are counted by whoever meets them, never fatal.
"""

import csv
import functools
from collections.abc import Container, Iterable, Mapping
from importlib import resources
from types import MappingProxyType

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness
from fleetmend.signals.records import (
    HISTOGRAM_HOWS,
    Combine,
    How,
    LabelRule,
    Name,
    NameState,
    Part,
    Partition,
    Shape,
    Signal,
    Source,
)

_KNOWN_MAX = 8192
"""Names whose meaning is remembered: whoever reads pages asks for the same ones, over and over."""
_KNOWN_CHARS = 256
_SUFFIXES = (("_bucket", Part.BUCKET), ("_sum", Part.SUM), ("_count", Part.COUNT))


class Catalogue:
    """Read-only; made once by `catalogue()`."""

    def __init__(
        self,
        signals: Iterable[Signal],
        sources: Iterable[Source],
        ignored: Iterable[tuple[str, str, str]],
        renamed: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """`renamed`: newer name by older, of which some versions serve both at once."""
        self.renamed: Mapping[str, str] = MappingProxyType(dict(renamed))
        self.signals: Mapping[str, Signal] = MappingProxyType({s.name: s for s in signals})
        by_name: dict[str, list[Source]] = {}
        for source in sources:
            by_name.setdefault(source.name, []).append(source)
        self._by_name = {name: tuple(found) for name, found in by_name.items()}
        self._known: dict[str, Name] = {}
        self._ignored: dict[str, tuple[str, str]] = {}
        self._ignored_patterns: list[tuple[str, str, str]] = []
        for system, name, reason in ignored:
            if "*" in name:
                self._ignored_patterns.append((name, system, reason))
            else:
                self._ignored[name] = (system, reason)

    def signal(self, name: str) -> Signal:
        """The canonical signal of this name. Raises BadInput when there is none."""
        found = self.signals.get(name)
        if found is None:
            raise BadInput(f"{name!r} is no canonical signal", fix="See data/signals.csv.")
        return found

    def sources_of(self, signal: str) -> tuple[Source, ...]:
        """Every way that leads to a signal, in the order of the table."""
        return tuple(
            s for found in self._by_name.values() for s in found if s.signal.name == signal
        )

    def read_by(self, hows: Container[How]) -> tuple[Source, ...]:
        """Every way that works like one of `hows`, in the order of the table."""
        every = (source for found in self._by_name.values() for source in found)
        return tuple(source for source in every if source.how in hows)

    def name(self, metric: str) -> Name:
        """What a metric name means, with its histogram suffix or without."""
        name = self._known.get(metric)
        if name is None:
            name = self._name(metric)
            if len(self._known) < _KNOWN_MAX and len(metric) <= _KNOWN_CHARS:
                self._known[metric] = name
        return name

    def _name(self, metric: str) -> Name:
        for base, part in _readings(metric):
            sources = tuple(s for s in self._by_name.get(base, ()) if _reads(s.how, part))
            if sources:
                return Name(NameState.MAPPED, base, part, sources[0].system, sources)
        for base, part in _readings(metric):
            ignored = self._ignored_as(base)
            if ignored is not None:
                return Name(NameState.IGNORED, base, part, ignored[0], (), ignored[1])
            if base in self._by_name:  # a part that no way reads, such as the sum of a counter
                system = self._by_name[base][0].system
                return Name(NameState.IGNORED, base, part, system, (), "no signal reads this part")
        return Name(NameState.UNKNOWN, metric, Part.VALUE, "", ())

    def _ignored_as(self, name: str) -> tuple[str, str] | None:
        exact = self._ignored.get(name)
        if exact is not None:
            return exact
        for pattern, system, reason in self._ignored_patterns:
            head, _, tail = pattern.partition("*")
            if name.startswith(head) and name.endswith(tail):
                return system, reason
        return None


@functools.cache
def catalogue() -> Catalogue:
    """The catalogue of this version. Raises BadInput naming file and line when a table is
    broken."""
    signals = {row["name"]: _signal(row, where) for row, where in _rows("signals.csv")}
    return Catalogue(
        signals.values(),
        [_source(row, signals, where) for row, where in _rows("sources.csv")],
        [(row["system"], row["name"], row["reason"]) for row, _ in _rows("ignored.csv")],
        {row["old"]: row["new"] for row, _ in _rows("renamed.csv")},
    )


def _readings(metric: str) -> list[tuple[str, Part]]:
    """The ways to read a name: as it stands first, then as a part of a histogram."""
    readings = [(metric, Part.VALUE)]
    readings += [(metric.removesuffix(s), part) for s, part in _SUFFIXES if metric.endswith(s)]
    return readings


def _reads(how: How, part: Part) -> bool:
    return (part is not Part.VALUE) == (how in HISTOGRAM_HOWS)


def _rows(file: str) -> list[tuple[dict[str, str], str]]:
    text = (resources.files("fleetmend.signals") / "data" / file).read_text("utf-8")
    return [
        (row, f"{file} line {at}") for at, row in enumerate(csv.DictReader(text.splitlines()), 2)
    ]


def _signal(row: dict[str, str], where: str) -> Signal:
    try:
        return Signal(
            name=row["name"],
            unit=row["unit"],
            entity=EntityKind(row["entity"]),
            shape=Shape(row["shape"]),
            period_s=float(row["period_s"]),
            witness=Witness(row["witness"]),
            partition=Partition(row["partition"]) if row["partition"] else None,
            meaning=row["meaning"],
        )
    except (KeyError, ValueError) as error:
        raise BadInput(str(error), where=where) from error


def _source(row: dict[str, str], signals: Mapping[str, Signal], where: str) -> Source:
    try:
        return Source(
            system=row["system"],
            name=row["name"],
            rules=tuple(_rule(text) for text in row["labels"].split(";") if text),
            signal=signals[row["signal"]],
            how=How(row["how"]),
            scale=float(row["scale"]),
            combine=Combine(row["combine"]),
        )
    except (KeyError, ValueError) as error:
        raise BadInput(str(error), where=where) from error


def _rule(text: str) -> LabelRule:
    label, _, wanted = text.partition("=")
    negated = wanted.startswith("!")
    return LabelRule(label, negated, tuple(wanted.removeprefix("!").split("|")))
