"""The exposition parser must say of each line what prometheus_client says of it alone."""

import math
import re
from collections.abc import Iterator

from prometheus_client.parser import text_string_to_metric_families

from collectors.exposition import Exposition, Page

Row = tuple[str, tuple[tuple[str, str], ...], float, float | None]

PEER_ERRORS = (ValueError, IndexError, KeyError, TypeError, OverflowError)
"""What prometheus_client raises for lines that it cannot read."""
_CHARS_MAX = 4096
"""prometheus_client takes time with the square of a line's length."""
_LINES_MAX = 90
"""Fewer than the bad lines that a page reports one by one."""


def rows_of(page: Page) -> list[Row]:
    """Name, labels, value and own time of each sample, in the order of the page."""
    reading = page.reading
    return [
        (
            reading.table[number].name,
            tuple(sorted(reading.table[number].labels.items())),
            value,
            reading.stamped_s.get(row),
        )
        for row, (number, value) in enumerate(
            zip(reading.series.tolist(), reading.value.tolist(), strict=True)
        )
    ]


def rows_by_peer(text: str) -> list[Row]:
    """The same by prometheus_client. Comments go first: it appends `_total` to the samples of
    counters that lack it, for an internal form that no page holds."""
    plain = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    return [
        (
            s.name,
            tuple(sorted(s.labels.items())),
            float(s.value),
            None if s.timestamp is None else float(s.timestamp),
        )
        for metric in text_string_to_metric_families(plain)
        for s in metric.samples
    ]


def assert_same(ours: list[Row], theirs: list[Row]) -> None:
    """Equal, with NaN equal to NaN."""
    assert [r[:2] + r[3:] for r in ours] == [r[:2] + r[3:] for r in theirs]
    for our, their in zip(ours, theirs, strict=True):
        assert our[2] == their[2] or (math.isnan(our[2]) and math.isnan(their[2])), (our, their)


def one_input(body: bytes) -> None:
    """A page, twice with one parser: the second time from its memory."""
    text = "\n".join(body[:_CHARS_MAX].decode("utf-8", "replace").split("\n")[:_LINES_MAX])
    lines = {
        number: line
        for number, line in enumerate(text.split("\n"), 1)
        if line.strip() and not line.lstrip().startswith("#")
    }
    parser = Exposition()
    for _ in range(2):
        page = parser.parse(text)
        bad = {line.number for line in page.bad}
        assert bad <= lines.keys(), (text, page.bad)
        rows = rows_of(page)
        assert len(rows) == len(lines) - len(bad), (text, rows, page.bad)
        read = iter(rows)
        for number, line in lines.items():
            ours = [] if number in bad else [next(read)]
            assert any(_same(ours, theirs) for theirs in _readings(line)), (line, ours)


def _readings(line: str) -> Iterator[list[Row]]:
    """What a line may be read as; nothing when it is a bad line."""
    try:
        rows = rows_by_peer(line + "\n")
    except PEER_ERRORS:
        rows = []
    # prometheus_client takes any number for a time.
    yield [row for row in rows if row[3] is None or math.isfinite(row[3])]
    # Exemplars are OpenMetrics: prometheus_client refuses them here or takes them for times.
    for mark in re.finditer(r"# \{", line):
        try:
            yield rows_by_peer(line[: mark.start()] + "\n")
        except PEER_ERRORS:
            continue


def _same(ours: list[Row], theirs: list[Row]) -> bool:
    try:
        assert_same(ours, theirs)
    except (AssertionError, ValueError):
        return False
    return True
