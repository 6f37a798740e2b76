"""What commands say to people."""

import pytest

from fleetmend.cli.say import Tone, say


def test_it_goes_to_standard_error_line_by_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("two\nlines", Tone.BAD)
    assert capsys.readouterr() == ("", "two\nlines\n")


def test_what_cannot_be_printed_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    say("engine \x1b[2J\u202e")
    assert capsys.readouterr().err == "engine \\x1b[2J\\u202e\n"
