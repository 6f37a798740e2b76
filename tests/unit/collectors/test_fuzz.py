"""What the fuzzers found is read again, and whatever else hypothesis thinks of."""

import importlib
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import CORPUS, TARGETS

OneInput = Callable[[bytes], None]


@pytest.fixture(scope="module", params=TARGETS)
def target(request: pytest.FixtureRequest) -> tuple[str, OneInput]:
    """The name of a fuzzer, and its claim about one input."""
    name: str = request.param
    one_input: OneInput = importlib.import_module(f"tests.fuzz.{name}").one_input
    return name, one_input


def test_the_kept_corpus_breaks_nothing(target: tuple[str, OneInput]) -> None:
    name, one_input = target
    paths = sorted((CORPUS / name).iterdir())
    assert len(paths) > 20
    for path in paths:
        assert path.stat().st_size <= 16_384, path
        one_input(path.read_bytes())


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_pieces_of_the_corpus_put_together_break_nothing(
    target: tuple[str, OneInput], data: st.DataObject
) -> None:
    name, one_input = target
    inputs = [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]
    pieces = st.one_of(st.binary(max_size=12), st.sampled_from(inputs).flatmap(part_of))
    one_input(b"".join(data.draw(st.lists(pieces, max_size=4))))


def part_of(whole: bytes) -> st.SearchStrategy[bytes]:
    """A stretch of an input."""
    ends = st.integers(0, min(len(whole), 2048))
    return st.tuples(ends, ends).map(lambda span: whole[min(span) : max(span)])
