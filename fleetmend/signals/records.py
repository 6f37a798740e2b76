"""What the signal catalogue consists of: signals, and the source names that lead to them.

The tables are data (`data/signals.csv`, `data/sources.csv`, `data/ignored.csv`); these types are
what `fleetmend.signals.catalogue` makes of them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from fleetmend.model.entities import EntityKind
from fleetmend.model.events import Witness


class Shape(StrEnum):
    """How a signal behaves over time."""

    GAUGE = "gauge"
    """A level that goes up and down."""
    COUNTER = "counter"
    """A total that only grows, and starts again at zero after a restart."""
    STATE = "state"
    """A code, a mask or a setting: its changes matter, its mean does not."""


class Partition(StrEnum):
    """What a figure of a partitioned (MIG) GPU speaks of: exporters repeat the board's figures
    for each instance."""

    BOARD = "board"
    INSTANCE = "instance"


class How(StrEnum):
    """How a source's number becomes the signal's value."""

    VALUE = "value"
    """Times `scale`."""
    COMPLEMENT = "complement"
    """One minus the number times `scale` (idle to busy)."""
    HISTOGRAM_P50 = "histogram_p50"
    """Median of what a cumulative histogram counted between two scrapes."""
    HISTOGRAM_P95 = "histogram_p95"
    HISTOGRAM_MEAN = "histogram_mean"
    HISTOGRAM_COUNT = "histogram_count"
    """The histogram's own counter of observations."""
    SHARE = "share"
    """Growth of the selected series between two scrapes over the growth of all series of the name
    (CPU seconds by mode)."""
    RATE = "rate"
    """Growth of the selected series between two scrapes, a second."""
    RATIO_PART = "ratio_part"
    """The selected series are the part of a share whose whole is told by `ratio_whole`, under this
    name or another."""
    RATIO_WHOLE = "ratio_whole"
    MEAN_TOTAL = "mean_total"
    """Growth of these series over growth of those of `mean_count`: seconds over requests."""
    MEAN_COUNT = "mean_count"
    PROCESS_BYTES = "process_bytes"
    """Sum over the selected processes of a GPU; 0 when there is none of them."""
    PROCESS_COUNT = "process_count"


HISTOGRAM_HOWS = frozenset(
    {How.HISTOGRAM_P50, How.HISTOGRAM_P95, How.HISTOGRAM_MEAN, How.HISTOGRAM_COUNT}
)
QUOTIENT_HOWS = frozenset(
    {How.SHARE, How.RATIO_PART, How.RATIO_WHOLE, How.MEAN_TOTAL, How.MEAN_COUNT}
)
"""Growth of some series over growth of others."""
PROCESS_HOWS = frozenset({How.PROCESS_BYTES, How.PROCESS_COUNT})


class Combine(StrEnum):
    """What to do with several series of one page that lead to the same entity and signal."""

    SUM = "sum"
    MAX = "max"
    MIN = "min"
    LAST = "last"


@dataclass(frozen=True, slots=True)
class Signal:
    """One canonical signal."""

    name: str
    """`<entity kind>.<what>`: the name that findings, knowledge and the console use."""
    unit: str
    """UCUM, as OpenTelemetry writes it; ratios are `1` and run from 0 to 1."""
    entity: EntityKind
    shape: Shape
    period_s: float
    """Longest normal gap between two samples; 0 for signals that come only when something
    happens."""
    witness: Witness
    """The channel that it is evidence of."""
    partition: Partition | None
    """Only for GPU signals."""
    meaning: str


@dataclass(frozen=True, slots=True)
class LabelRule:
    """One condition on a label of a series."""

    label: str
    negated: bool
    patterns: tuple[str, ...]
    """Any of them: text, with `*` for anything and `?` for one character; the empty text also
    means that the label is absent."""

    def holds(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels fulfil it."""
        value = labels.get(self.label, "")
        return any(_like(value, pattern) for pattern in self.patterns) is not self.negated


@dataclass(frozen=True, slots=True)
class Source:
    """One way from a source's metric name to a signal."""

    system: str
    name: str
    """Without `_bucket`, `_sum`, `_count` for the ways that read histograms."""
    rules: tuple[LabelRule, ...]
    signal: Signal
    how: How
    scale: float
    combine: Combine

    def takes(self, labels: Mapping[str, str]) -> bool:
        """Whether a series with these labels goes this way."""
        return all(rule.holds(labels) for rule in self.rules)


class NameState(StrEnum):
    """What the catalogue knows about a metric name."""

    MAPPED = "mapped"
    IGNORED = "ignored"
    """Left out on purpose; the reason stands in `data/ignored.csv`."""
    UNKNOWN = "unknown"


class Part(StrEnum):
    """Which part of a histogram or summary a metric name is."""

    VALUE = "value"
    """No part: the name itself."""
    BUCKET = "bucket"
    SUM = "sum"
    COUNT = "count"


@dataclass(frozen=True, slots=True)
class Name:
    """What a metric name means."""

    state: NameState
    base: str
    """The name without its histogram suffix."""
    part: Part
    system: str
    sources: tuple[Source, ...]
    reason: str = ""
    """Why it is ignored."""


def _like(value: str, pattern: str) -> bool:
    """Match `*` and `?`; the patterns of the table have at most one star, at the end."""
    if not pattern.endswith("*"):
        return value == pattern
    stem = pattern[:-1]
    if "?" not in stem:
        return value.startswith(stem)
    head = value[: len(stem)]
    return len(head) == len(stem) and all(
        want in ("?", got) for want, got in zip(stem, head, strict=True)
    )
