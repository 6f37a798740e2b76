"""The Prometheus text format 0.0.4, read fast: `collectors.prometheus` calls it for every scrape.

What stands before a value hardly ever changes between two scrapes of one target, so it is the key
of a cache: a known line costs one split, one dictionary look-up and one float. An unknown line is
split by hand, with its name and `label="value` terms cached as well (an exporter repeats them all
over the page); what is not plain goes to regular expressions; what they decline (quoted names,
reserved labels) goes to prometheus_client's parser. A line that nobody understands is reported and
the others still count. Comments, types and help texts are not read: the catalogue knows the types.
"""

import re
from dataclasses import dataclass

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from collectors.series import Reading, SeriesTable
from fleetmend.errors import BadInput

_LINE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)"
    r'[ \t]*(?:\{((?:[^"{}]++|"(?:[^"\\]++|\\.)*+")*+)\}[ \t]*|[ \t])'
    r"[ \t]*([^ \t{}#]+)(?:[ \t]+(-?[0-9]+))?"
    r"[ \t\r]*(?:# \{.*)?"  # an exemplar, which OpenMetrics allows and 0.0.4 does not
)
"""Name, labels, value, time in milliseconds."""
_LABEL = re.compile(
    r'[ \t]*([a-zA-Z_][a-zA-Z0-9_]*)[ \t]*=[ \t]*"((?:[^"\\]++|\\.)*+)"[ \t]*(?:,|$)'
)
_METRIC_NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
_LABEL_NAME = re.compile(r"(?!__)[a-zA-Z_][a-zA-Z0-9_]*")
_ESCAPE = re.compile(r'\\[\\n"]')
_PLAIN = {"\\\\": "\\", "\\n": "\n", '\\"': '"'}
_STALE_TABLE = 4
"""A table with this many times the series of a page is mostly dead names: start a new one."""
_SMALL_TABLE = 4096
"""Below this many series a table is never replaced."""


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
    refused: int = 0
    """Lines beyond `series_max`, which were not read."""


class Exposition:
    """The parser of one target: it remembers the target's series between scrapes."""

    def __init__(self, *, series_max: int = 100_000) -> None:
        self._series_max = series_max
        self._table = SeriesTable()
        self._known: dict[str, int] = {}
        self._names: set[str] = set()
        self._terms: dict[str, tuple[str, str]] = {}

    def parse(self, text: str) -> Page:
        """Read one page. Never raises for what the page holds: lines that cannot be read are in
        `bad`."""
        lines = [line for line in text.split("\n") if line and line[0] != "#"]
        refused = max(0, len(lines) - self._series_max)
        if len(self._known) > max(_SMALL_TABLE, _STALE_TABLE * len(lines)):
            self._table, self._known = SeriesTable(), {}
            self._names, self._terms = set(), {}
        parts = [line.rpartition(" ") for line in lines]
        known = self._known.get
        numbers = [known(part[0], -1) for part in parts]
        texts = [part[2] for part in parts]
        # float() reads 1_000 and the format does not; one scan of the joined text settles it.
        if refused or "_" in "".join(texts):
            return self._parse_each(text)
        try:
            value = np.array([*map(float, texts)], np.float64)
        except ValueError:
            return self._parse_each(text)
        if -1 in numbers and not self._learn(parts, numbers):
            return self._parse_each(text)
        return Page(Reading(self._table, np.array(numbers, np.int32), value))

    def _learn(self, parts: list[tuple[str, str, str]], numbers: list[int]) -> bool:
        """Number the unknown series of a page in place; false when one of them is not plain."""
        for row, number in enumerate(numbers):
            if number < 0:
                head = parts[row][0]
                plain = self._plain(head)
                if plain is None:
                    return False
                numbers[row] = self._number(head, *plain)
        return True

    def _parse_each(self, text: str) -> Page:
        numbers: list[int] = []
        values: list[float] = []
        stamped: dict[int, float] = {}
        bad: list[BadLine] = []
        refused = 0
        for number, line in enumerate(text.split("\n"), 1):
            line = line.strip()
            if not line or line[0] == "#":
                continue
            if len(numbers) >= self._series_max:
                refused += 1
                continue
            try:
                series, value, stamp_s = self._line(line)
            except BadInput as error:
                bad.append(BadLine(number, line, error.what))
                continue
            if stamp_s is not None:
                stamped[len(numbers)] = stamp_s
            numbers.append(series)
            values.append(value)
        reading = Reading(
            self._table, np.array(numbers, np.int32), np.array(values, np.float64), stamped
        )
        return Page(reading, tuple(bad), refused)

    def _line(self, line: str) -> tuple[int, float, float | None]:
        """Series number, value, own time in Unix seconds. Raises BadInput."""
        head, _, tail = line.rpartition(" ")
        series = self._known.get(head)
        if series is not None:
            return series, _value(tail), None
        plain = self._plain(head)
        if plain is not None:
            return self._number(head, *plain), _value(tail), None
        match = _LINE.fullmatch(line)
        if match is None:
            return self._line_by_peer(line)
        name, label_text, value_text, stamp_text = match.groups()
        labels = _labels(label_text) if label_text else {}
        if labels is None:
            return self._line_by_peer(line)
        value = _value(value_text)
        stamp_s = None if stamp_text is None else int(stamp_text) / 1000
        # Lines with a time or an exemplar end in it: what stands before the value is the key.
        key = line[: match.start(3)].rstrip(" \t")
        return self._number(key, name, labels), value, stamp_s

    def _plain(self, head: str) -> tuple[str, dict[str, str]] | None:
        """Name and labels of a line without escapes, odd spaces, a time or an exemplar."""
        name, brace, block = head.partition("{")
        if name not in self._names:
            if _METRIC_NAME.fullmatch(name) is None:
                return None
            self._names.add(name)
        if not brace:
            return name, {}
        if block[-2:] != '"}' or "\\" in block:
            return None
        # Without escapes a quote can only open or close, so `",` always ends a label.
        pairs = [self._terms.get(term) or self._term(term) for term in block[:-2].split('",')]
        labels = dict(pairs)
        # A term that is not plain reads as the empty pair; a label twice makes fewer labels.
        return None if "" in labels or len(labels) < len(pairs) else (name, labels)

    def _term(self, term: str) -> tuple[str, str]:
        """Label and value of `label="value`; two empty texts when it is no plain term."""
        label, mark, value = term.partition('="')
        if not mark or '"' in value or _LABEL_NAME.fullmatch(label) is None:
            return "", ""
        self._terms[term] = label, value
        return label, value

    def _line_by_peer(self, line: str) -> tuple[int, float, float | None]:
        try:
            (metric,) = text_string_to_metric_families(line + "\n")
            (sample,) = metric.samples
            value = float(sample.value)
            stamp_s = None if sample.timestamp is None else float(sample.timestamp)
        except (ValueError, IndexError, KeyError, TypeError, OverflowError) as error:
            raise BadInput(str(error) or "not a sample line") from error
        key = f"{sample.name}{sorted(sample.labels.items())}"  # no line begins like this
        return self._number(key, sample.name, sample.labels), value, stamp_s

    def _number(self, key: str, name: str, labels: dict[str, str]) -> int:
        number = self._known.get(key)
        if number is None:
            number = self._known[key] = self._table.add(name, labels)
        return number


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


def _value(text: str) -> float:
    if "_" in text:
        raise BadInput(f"{text[:80]!r} is no number")
    try:
        return float(text)
    except ValueError as error:
        raise BadInput(f"{text[:80]!r} is no number") from error
