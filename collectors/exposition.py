"""The Prometheus text format 0.0.4, read fast: `collectors.prometheus` calls it for every scrape.

What stands before a value hardly ever changes between two scrapes of one target, so it is the key
of a cache; a page on which nothing but values has changed is not even looked up. An unknown line is
split by hand, its labels once for all lines that bear the same; what is not plain goes to regular
expressions; what they decline (quoted names, reserved labels) goes to prometheus_client's parser. A
line that nobody understands is reported and the others still count. What the page says of types and
units is only compared with what it said before: the catalogue knows what they are.
"""

import functools
import math
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import compress

import numpy as np
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from collectors.declared import Declared, declared_by
from collectors.series import Reading, Series, SeriesTable
from fleetmend.errors import BadInput

_LINE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'[ \t]*(?:\{((?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+)\}[ \t]*|[ \t])'
    r"[ \t]*([^ \t{}#]+)(?:[ \t]+(-?[0-9]{1,18}))?"
    r"[ \t\r]*(?:# \{.*)?"  # an exemplar, which OpenMetrics allows and 0.0.4 does not
)
"""Name, labels, value, time in milliseconds."""
_LABEL = re.compile(
    r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]++|\\.)*+)"[ \t]*(?:,|$)'
)
_ESCAPE = re.compile(r'\\[\\n"]')
_PLAIN = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}
_NO_LABELS: Mapping[str, str] = {}
_STALE_TABLE = 4
"""A table with this many times the characters of a page is mostly dead names: start a new one."""
_SMALL_TABLE = 32_768
"""Below this many characters a table is never replaced."""
_PEER_CHARS_MAX = 8192
"""Longest line that prometheus_client is asked about: its time grows with the square of it."""
_PEER_LINES_MAX = 200
"""Lines of one page that it is asked about: it takes a hundred times longer than we do."""
_BAD_MAX = 100
"""Lines that nobody could read, of one page, that are kept; all are counted."""
_BAD_CHARS = 4096
"""What is kept of each."""
_LINES_PER_SERIES = 4
"""Lines of a page, over its most series: a page says two or three beside each short family."""
_SHARED_CHARS = 1024
"""Longest labels that are remembered for other series and other targets."""


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that could not be read."""

    number: int
    """From 1."""
    text: str
    error: str


@dataclass(frozen=True, slots=True)
class Page:
    """What one page said."""

    reading: Reading
    bad: tuple[BadLine, ...] = ()
    """The first lines that could not be read."""
    bad_count: int = 0
    refused: int = 0
    """Lines beyond `series_max`, which were not read."""
    declared: Declared | None = None
    """What it says of types and units; None when it is too large to be asked."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the last page was laid out."""

    is_sample: bytes
    """For each line 1 when it is a sample, else 0."""
    is_other: bytes
    others: tuple[str, ...]
    """The lines that are no samples."""
    stems: list[str]
    """What stands before the value of each sample, the space included."""
    series: NDArray[np.int32]
    declared: Declared

    @classmethod
    def of(
        cls, every: list[str], stems: list[str], series: NDArray[np.int32], declared: Declared
    ) -> "_Layout":
        """The layout of these lines."""
        is_sample = bytes(bool(line) and line[0] != "#" for line in every)
        is_other = bytes(1 - each for each in is_sample)
        # Replicas write the same comments: thousands of targets then share one copy.
        others = tuple(map(sys.intern, compress(every, is_other)))
        return cls(is_sample, is_other, others, stems, series, declared)


class Exposition:
    """The parser of one target: it remembers the target's series between scrapes."""

    def __init__(self, *, series_max: int = 100_000) -> None:
        self._series_max = series_max
        self._peer_lines = 0
        self._forget()

    def _forget(self) -> None:
        self._table = SeriesTable(_series_of)
        self._known: dict[str, int] = {}
        self._known_chars = 0
        self._layout: _Layout | None = None

    def parse(self, text: str) -> Page:
        """Read one page. Never raises for what the page holds: lines that cannot be read are in
        `bad`."""
        # Labels that are others at every scrape must not fill the memory, be they many or long.
        if self._known_chars > max(_SMALL_TABLE, _STALE_TABLE * len(text)):
            self._forget()
        every = text.split("\n", self._series_max * _LINES_PER_SERIES)
        page = self._parse_as_before(every)
        if page is not None:
            return page
        lines = [line for line in every if line and line[0] != "#"]
        if len(lines) > self._series_max or "\n" in every[-1]:
            return self._parse_each(every)
        declared = declared_by([line for line in every if line[:1] == "#"])
        reading = self._parse_known(lines)
        if reading is None:
            return replace(self._parse_each(every), declared=declared)
        stems = [sys.intern(line[: line.rfind(" ") + 1]) for line in lines]
        self._layout = _Layout.of(every, stems, reading.series, declared)
        return Page(reading, declared=declared)

    def _parse_as_before(self, every: list[str]) -> Page | None:
        """Read a page on which nothing but values differs from the one before; else None. This is
        nearly every page, so the loops are Python's own."""
        layout = self._layout
        if layout is None or len(every) != len(layout.is_sample):
            return None
        if tuple(compress(every, layout.is_other)) != layout.others:
            return None
        lines = [*compress(every, layout.is_sample)]
        if not all(map(str.startswith, lines, layout.stems)):
            return None
        texts = [line[n:] for line, n in zip(lines, map(len, layout.stems), strict=True)]
        value = _values(texts)
        if value is None:
            return None
        return Page(Reading(self._table, layout.series, value), declared=layout.declared)

    def _parse_known(self, lines: list[str]) -> Reading | None:
        """Read sample lines that are all plain; None when one is not."""
        ends = [line.rfind(" ") + 1 for line in lines]
        stems = [line[:end] for line, end in zip(lines, ends, strict=True)]
        value = _values([line[end:] for line, end in zip(lines, ends, strict=True)])
        if value is None:
            return None
        known = self._known
        numbers = [known.get(stem, -1) for stem in stems]
        if -1 in numbers:
            new = [stem for stem, number in zip(stems, numbers, strict=True) if number < 0]
            if not self._learn(new):
                return None
            numbers = [known[stem] for stem in stems]
        return Reading(self._table, np.array(numbers, np.int32), value)

    def _learn(self, stems: Iterable[str]) -> bool:
        """Number new series by what stands before their values, the space included; false, and none
        of them, when one has escapes, odd spaces, a time or an exemplar."""
        new: dict[str, None] = {}
        names: set[str] = set()
        for stem in stems:
            name, brace, block = stem[:-1].partition("{")
            if name not in names:
                if not (name.isascii() and name.replace(":", "_").isidentifier()):
                    return False
                names.add(name)
            if brace and _labels_of(block) is None:
                return False
            # Replicas write the same lines: thousands of targets then share one copy.
            new[sys.intern(stem)] = None
        self._known.update(zip(new, self._table.extend(new), strict=True))
        self._known_chars += sum(map(len, new))
        return True

    def _parse_each(self, lines: list[str]) -> Page:
        """Read line by line; what was not split, at the end, is only counted."""
        numbers: list[int] = []
        values: list[float] = []
        stamped: dict[int, float] = {}
        bad: list[BadLine] = []
        bad_count = refused = 0
        self._peer_lines = 0
        if "\n" in lines[-1]:
            refused, lines = lines[-1].count("\n") + 1, lines[:-1]
        for number, line in enumerate(lines, 1):
            line = line.strip()
            if not line or line[0] == "#":
                continue
            if len(numbers) + bad_count >= self._series_max:
                refused += 1
                continue
            try:
                series, value, stamp_s = self._line(line)
            except BadInput as error:
                bad_count += 1
                if len(bad) < _BAD_MAX:
                    bad.append(BadLine(number, line[:_BAD_CHARS], error.what))
                continue
            if stamp_s is not None:
                stamped[len(numbers)] = stamp_s
            numbers.append(series)
            values.append(value)
        reading = Reading(
            self._table, np.array(numbers, np.int32), np.array(values, np.float64), stamped
        )
        return Page(reading, tuple(bad), bad_count, refused)

    def _line(self, line: str) -> tuple[int, float, float | None]:
        """Series number, value, own time in Unix seconds. Raises BadInput."""
        end = line.rfind(" ") + 1
        stem, value = line[:end], _value(line[end:])
        if value is not None and (stem in self._known or self._learn([stem])):
            return self._known[stem], value, None
        match = _LINE.fullmatch(line)
        if match is None:
            return self._line_by_peer(line)
        name, label_text, value_text, stamp_text = match.groups()
        labels, value = _labels(label_text or ""), _value(value_text)
        if labels is None or value is None:
            return self._line_by_peer(line)
        stamp_s = None if stamp_text is None else int(stamp_text) / 1000
        # Lines with a time or an exemplar end in it: what stands before the value is the key.
        key = line[: match.start(3)].rstrip(" \t")
        return self._number(key, name, labels), value, stamp_s

    def _line_by_peer(self, line: str) -> tuple[int, float, float | None]:
        if len(line) > _PEER_CHARS_MAX:
            raise BadInput(f"odd, and longer than {_PEER_CHARS_MAX} characters")
        self._peer_lines += 1
        if self._peer_lines > _PEER_LINES_MAX:
            raise BadInput(f"odd, and not among the first {_PEER_LINES_MAX} of these")
        try:
            (metric,) = text_string_to_metric_families(line + "\n")
            (sample,) = metric.samples
            value = float(sample.value)
            stamp_s = None if sample.timestamp is None else float(sample.timestamp)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise BadInput(str(error) or "not a sample line") from error
        if stamp_s is not None and not math.isfinite(stamp_s):
            raise BadInput("a time that is no number")
        key = f"{sample.name}{sorted(sample.labels.items())}"  # no line begins like this
        return self._number(key, sample.name, sample.labels), value, stamp_s

    def _number(self, key: str, name: str, labels: Mapping[str, str]) -> int:
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = self._table.add(name, labels)
            self._known_chars += len(key)
        return number


def _values(texts: list[str]) -> NDArray[np.float64] | None:
    """The numbers that texts are; None when one is not plain."""
    # float() reads 1_000 and the format does not; one scan of the joined text settles it.
    if "_" in "".join(texts):
        return None
    try:
        return np.array([*map(float, texts)], np.float64)
    except ValueError:
        return None


def _series_of(stem: str) -> Series:
    """The series of a plain line by what stands before its value."""
    name, brace, block = stem[:-1].partition("{")
    return Series(name, (_labels_of(block) or _NO_LABELS) if brace else _NO_LABELS)


def _labels_of(block: str) -> Mapping[str, str] | None:
    """The labels of `a="x",b="y"}`; None when they are not plain. Not to be changed: shared."""
    return _plain_labels(block) if len(block) > _SHARED_CHARS else _shared_labels(block)


def _plain_labels(block: str) -> Mapping[str, str] | None:
    if block[-2:] != '"}' or "\\" in block:
        return None
    labels: dict[str, str] = {}
    # Without escapes a quote can only open or close, so `",` always ends a label.
    for term in block[:-2].split('",'):
        label, mark, value = term.partition('="')
        if not (mark and label.isascii() and label.isidentifier()):
            return None
        if '"' in value or label in labels or label[:2] == "__":
            return None
        labels[label] = value
    return labels


_shared_labels = functools.lru_cache(1024)(_plain_labels)
"""Many series of a page, and many pages, bear the same labels."""


def _labels(text: str) -> dict[str, str] | None:
    """The labels of a line; None for what prometheus_client should decide."""
    labels: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _LABEL.match(text, at)
        if match is None:
            return None
        label, value = match.groups()
        if label in labels or label.startswith("__"):
            return None
        labels[label] = _ESCAPE.sub(lambda m: _PLAIN[m.group()], value) if "\\" in value else value
        at = match.end()
    return labels


def _value(text: str) -> float | None:
    """The number that a text is; None for what prometheus_client should decide."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None
