"""The fast parser says what prometheus_client says, and goes on where that one stops."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.exposition import Exposition
from tests.fuzz.exposition import PEER_ERRORS, Row, assert_same, rows_by_peer, rows_of

ROOT = Path(__file__).parents[3]
PAGES = ROOT / "tests" / "data" / "pages"


@pytest.mark.parametrize("page", ["vllm-0.32.prom", "dcgm-t4.prom", "dcgm-h100.prom"])
def test_real_pages_are_read_as_prometheus_client_reads_them(page: str) -> None:
    text = (PAGES / page).read_text()
    parser = Exposition()
    theirs = rows_by_peer(text)
    assert len(theirs) > 20
    assert_same(rows_of(parser.parse(text)), theirs)
    assert_same(rows_of(parser.parse(text)), theirs)  # from the cache


def test_a_broken_line_is_reported_and_the_others_count() -> None:
    """The real MIG page begins with a stray line, at which prometheus_client gives up."""
    text = (PAGES / "dcgm-mig.prom").read_text()
    page = Exposition().parse(text)

    assert [(bad.number, bad.text) for bad in page.bad] == [(1, "Active 1g.5gb")]
    assert_same(rows_of(page), rows_by_peer(text.split("\n", 1)[1]))
    with pytest.raises(ValueError, match="could not convert"):
        rows_by_peer(text)


def test_values_of_a_second_scrape_are_its_own() -> None:
    parser = Exposition()
    parser.parse('a{x="1"} 1\nb 2\n')
    page = parser.parse('a{x="1"} 7\nb 8\nc 9\n')
    assert [row[2] for row in rows_of(page)] == [7.0, 8.0, 9.0]
    assert page.reading.series.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "line",
    [
        "a 1_000",
        "a{x=1} 2",
        'a{x="1} 2',
        'a{x="1"',
        'a{x="1",x="2"} 3',
        "a",
        "a ",
        "{} 1",
        "a one",
        "a 1 # a NaN",
        "é 1",
        "\x00 1",
        'a{x="1"}} 2',
        "a 1 " + "9" * 400,
        '{"a.b",' + ",".join(f'x{i}="1"' for i in range(2000)) + "} 1",  # long and odd
    ],
)
def test_what_nobody_can_read_is_a_bad_line_also_when_the_series_is_known(line: str) -> None:
    parser = Exposition()
    for _ in range(2):
        page = parser.parse(f"good 1\n{line}\nalso_good 2\n")
        assert [bad.number for bad in page.bad] == [2]
        assert [row[0] for row in rows_of(page)] == ["good", "also_good"]


@pytest.mark.parametrize(
    ("line", "row"),
    [
        ("a NaN", ("a", (), math.nan, None)),
        ("a +Inf", ("a", (), math.inf, None)),
        ("a 9223372036854775794", ("a", (), 9.223372036854776e18, None)),
        ("a 1 1795397018376", ("a", (), 1.0, 1795397018.376)),
        ("a 1\t1795397018376", ("a", (), 1.0, 1795397018.376)),
        ('a{b="c d"}\t5', ("a", (("b", "c d"),), 5.0, None)),
        ('a{b="} 4 # {"} 5', ("a", (("b", "} 4 # {"),), 5.0, None)),
        ('a_bucket{le="1"} 5 # {trace="x"} 0.3', ("a_bucket", (("le", "1"),), 5.0, None)),
        ('{"a.b", c="d"} 5', ("a.b", (("c", "d"),), 5.0, None)),
        ("a 1\r", ("a", (), 1.0, None)),
        ("   a 1", ("a", (), 1.0, None)),
    ],
)
def test_odd_but_readable_lines_are_read(line: str, row: Row) -> None:
    parser = Exposition()
    for _ in range(2):
        page = parser.parse(line + "\n")
        assert page.bad == ()
        assert_same(rows_of(page), [row])


def test_more_series_than_allowed_are_counted_and_not_read() -> None:
    page = Exposition(series_max=3).parse("".join(f"a{i} {i}\n" for i in range(10)))
    assert (len(page.reading.series), page.refused) == (3, 7)


def test_lines_that_nobody_can_read_count_among_those_allowed() -> None:
    """Each costs a call of prometheus_client: a page of them must not take minutes."""
    page = Exposition(series_max=3).parse("stray line\n" * 10)
    assert (len(page.bad), page.refused) == (3, 7)


@pytest.mark.parametrize(
    "line",
    [
        'a{{pid="{}"}} 1',
        "a{} 1",
        'a{{pid="{}"}} 1 1795397018376',
        '{{"a.b",pid="{}"}} 1',
        'é{{pid="{}"}} 1',
    ],
)
@pytest.mark.parametrize(
    ("lines", "length", "scrapes", "bytes_max"),
    [(200, 20, 80, 3_000_000), (1, 10_000, 40, 2_000_000)],
)
def test_labels_that_change_at_every_scrape_do_not_fill_the_memory(
    line: str, lines: int, length: int, scrapes: int, bytes_max: int
) -> None:
    """Many short ones (process ids) or few long ones; a new table begins in time."""
    command = [sys.executable, "-m", "tests.unit.collectors.held_labels"]
    given = json.dumps({"line": line, "lines": lines, "length": length, "scrapes": scrapes})
    done = subprocess.run([*command, given], cwd=ROOT, check=True, capture_output=True, text=True)
    held = json.loads(done.stdout)
    assert held["bytes"] < bytes_max
    assert held["tables"] > 1 or held["labels"] <= 1


def test_a_page_that_stays_the_same_keeps_its_table() -> None:
    text = (PAGES / "vllm-0.32.prom").read_text()
    parser = Exposition()
    assert len({id(parser.parse(text).reading.table) for _ in range(20)}) == 1


LABEL_TEXT = st.text(
    st.one_of(st.characters(exclude_categories=["Cs", "Cc"]), st.sampled_from('\n\\"},={')),
    max_size=12,
)
LABELS = st.dictionaries(
    st.from_regex(r"[a-zA-Z][a-zA-Z0-9_]{0,6}", fullmatch=True), LABEL_TEXT, max_size=4
)
VALUES = st.one_of(
    st.floats().map(repr),
    st.integers(-(2**70), 2**70).map(str),
    st.sampled_from(["NaN", "+Inf", "-Inf", "1e3", "1.5E-3", "0x10", "1_0", "nope"]),
)
NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]{0,10}", fullmatch=True)
SPACE = st.sampled_from([" ", "  ", "\t"])


@st.composite
def lines(draw: st.DrawFn) -> str:
    """A line as a careless but lawful exporter might write it, and sometimes a bad value."""
    escaped = {
        name: value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        for name, value in draw(LABELS).items()
    }
    labels = ",".join(f'{name}="{value}"' for name, value in escaped.items())
    if labels and draw(st.booleans()):
        labels += ","
    block = "{" + labels + "}" if labels or draw(st.booleans()) else ""
    stamp = draw(st.one_of(st.just(""), st.integers(0, 2**45).map(lambda ms: f" {ms}")))
    return f"{draw(NAMES)}{block}{draw(SPACE)}{draw(VALUES)}{stamp}"


@settings(max_examples=150, deadline=None)
@given(st.lists(lines(), max_size=6))
def test_any_page_is_read_as_prometheus_client_reads_its_lines(page_lines: list[str]) -> None:
    """Line by line, because one bad line stops prometheus_client; twice, for the cache."""
    expected: list[Row] = []
    bad: list[int] = []
    for number, line in enumerate(page_lines, 1):
        try:
            expected += rows_by_peer(line + "\n")
        except ValueError:
            bad.append(number)
    parser = Exposition()
    for _ in range(2):
        page = parser.parse("\n".join(page_lines) + "\n")
        assert [line.number for line in page.bad] == bad
        assert_same(rows_of(page), expected)


PIECES = st.sampled_from(
    ["a", "_", ":", "1", "é", " ", "\t", "{", "}", '"', "\\", ",", "=", "#", '="', '",', 'b="c"']
)


@settings(max_examples=300, deadline=None)
@given(st.lists(PIECES, max_size=10).map("".join), st.sampled_from(["", " 1", "\t1", " 1 5"]))
def test_what_looks_like_a_line_is_read_or_refused_as_prometheus_client_does(
    start: str, end: str
) -> None:
    line = start + end
    try:
        expected = rows_by_peer(line + "\n")
    except PEER_ERRORS:
        expected = []
    assert_same(rows_of(Exposition().parse(line)), expected)


LINES = st.sampled_from(
    [
        "a 1",
        "a  2",
        "a\t3",
        "a4",
        "a 5 1795397018376",
        "a 1_0",
        "ab 6",
        'a{x="y"} 7',
        'a{x="z"} 8 # {trace="t"} 1',
        "a NaN",
        "# TYPE a gauge",
        "# TYPE a counter",
        "",
    ]
)
PAGES_OF_LINES = st.lists(st.lists(LINES, max_size=6).map("\n".join), min_size=2, max_size=5)


@settings(max_examples=200, deadline=None)
@given(PAGES_OF_LINES)
def test_what_was_read_before_changes_nothing_of_what_is_read(pages: list[str]) -> None:
    """A page laid out like the one before takes a shorter way."""
    parser = Exposition()
    for text in [page for page in pages for _ in range(2)]:
        seen, fresh = parser.parse(text), Exposition().parse(text)
        assert_same(rows_of(seen), rows_of(fresh))
        assert (seen.bad, seen.declared) == (fresh.bad, fresh.declared)
