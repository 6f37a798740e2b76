"""The process's own log: one object a line, whatever telemetry put into it."""

import json
import logging

import pytest

from fleetmend.logs import VALUE_CHARS_MAX, JsonLines, PlainLines


def record(text: str = "page refused", **values: object) -> logging.LogRecord:
    made = logging.makeLogRecord(
        {"name": "room", "levelname": "WARNING", "msg": text, "created": 1_750_000_000.25}
    )
    made.__dict__.update(values)
    return made


def test_a_line_is_an_object_with_text_level_time_values_and_role() -> None:
    line = JsonLines(role="agent").format(record(target="node-1", tries=3))
    assert json.loads(line) == {
        "event": "page refused",
        "level": "warning",
        "timestamp": "2025-06-15T15:06:40.250000Z",
        "target": "node-1",
        "tries": 3,
        "role": "agent",
    }


def test_a_value_of_any_kind_is_written_and_a_long_one_is_cut() -> None:
    line = json.loads(JsonLines(role="agent").format(record(why={1}, said="x" * 10_000)))
    assert line["why"] == "{1}"
    assert line["said"] == "x" * VALUE_CHARS_MAX + "..."


@pytest.mark.parametrize("lines", [JsonLines(role="agent"), PlainLines()])
def test_what_telemetry_says_makes_no_second_line_and_steers_no_terminal(
    lines: logging.Formatter,
) -> None:
    line = lines.format(record("bad\n\x1b[2J", said="a\nb\x1b]0;title\x07\u202e"))
    assert line.isprintable()


@pytest.mark.parametrize("lines", [JsonLines(role="agent"), PlainLines()])
def test_an_error_comes_with_where_it_was_raised(lines: logging.Formatter) -> None:
    try:
        raise ValueError("no such thing")
    except ValueError as error:
        line = lines.format(record(exc_info=(type(error), error, error.__traceback__)))
    assert "test_an_error_comes_with_where_it_was_raised" in line
    assert "no such thing" in line


def test_values_stand_beside_the_text_for_people() -> None:
    line = PlainLines().format(record(target="node-1"))
    assert line.endswith("warning page refused target=node-1")
