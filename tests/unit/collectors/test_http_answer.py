"""Reading answers: one answer however its bytes are cut, and bounded whatever they are."""

import gzip
import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from collectors.fetch import Outcome, Refusal, unpacked
from collectors.http_answer import Answer

MAX = 2_000
HEAD = b"HTTP/1.1 200 OK\r\n"
PIECES = st.sampled_from(
    [
        HEAD,
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 4000\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Encoding: gzip\r\n",
        b"Connection: close\r\n",
        b"\r\n",
        b"5\r\nhello\r\n",
        b"ffffffff\r\n",
        b"0\r\n",
        b"hello",
        b"a 1\n" * 200,
    ]
)
STREAMS = st.lists(st.one_of(PIECES, st.binary(max_size=40)), max_size=12).map(b"".join)


def read(stream: bytes, cuts: list[int]) -> tuple[object, ...]:
    """What comes of bytes that arrive in these pieces."""
    answer = Answer(body_bytes_max=MAX)
    edges = [0, *sorted({cut % (len(stream) + 1) for cut in cuts}), len(stream)]
    try:
        for begin, end in itertools.pairwise(edges):
            if answer.feed(stream[begin:end]):
                return answer.status, answer.packed, answer.body
            assert answer.held <= MAX + len(stream)
    except Refusal as refusal:
        return (refusal.outcome,)
    return (answer.end(), answer.status, answer.body if answer.end() else b"")


@settings(max_examples=300, deadline=None)
@given(STREAMS, st.lists(st.integers(0, 5_000), max_size=20))
@example(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", list(range(70)))
@example(HEAD + b"Content-Length: 5\r\n\r\nhello", list(range(60)))
def test_the_answer_does_not_depend_on_how_its_bytes_came(stream: bytes, cuts: list[int]) -> None:
    whole, cut = read(stream, []), read(stream, cuts)
    # Bytes that come later than what is refused, or after the end, may change the word for it.
    refused = {Outcome.OVERSIZE, Outcome.PROTOCOL}
    assert whole == cut or {*whole, *cut} & refused or len(cut) == len(whole) == 1


@pytest.mark.parametrize("rest", [b"", b"HTTP/1.1 200 OK\r\n"])
def test_only_an_answer_that_ends_where_it_said_leaves_its_connection_fit(rest: bytes) -> None:
    for body in (b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"):
        answer = Answer(body_bytes_max=MAX)
        assert answer.feed(HEAD + body + rest)
        assert answer.reusable is not bool(rest)


@pytest.mark.parametrize(
    ("head", "reusable"),
    [
        (b"HTTP/1.0 200 OK\r\n", False),
        (b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", True),
        (HEAD + b"Connection: Close\r\n", False),
        (HEAD, True),
    ],
)
def test_a_server_says_whether_it_keeps_the_connection(head: bytes, reusable: bool) -> None:
    answer = Answer(body_bytes_max=MAX)
    assert answer.feed(head + b"Content-Length: 0\r\n\r\n")
    assert answer.reusable is reusable


def test_a_body_of_many_packed_files_is_one_page() -> None:
    packed = gzip.compress(b"a 1\n") + gzip.compress(b"b 2\n")
    assert unpacked(packed, bytes_max=100) == b"a 1\nb 2\n"


@pytest.mark.parametrize(
    ("body", "outcome"),
    [
        (gzip.compress(b"a 1\n" * 1_000), Outcome.OVERSIZE),
        (gzip.compress(b"") * 500_000, Outcome.UNREADABLE),
        (gzip.compress(b"a 1\n")[:-1], Outcome.UNREADABLE),
        (gzip.compress(b"a 1\n") + b"x", Outcome.UNREADABLE),
        (b"x", Outcome.UNREADABLE),
    ],
)
def test_what_cannot_be_unpacked_within_bounds_is_refused(body: bytes, outcome: Outcome) -> None:
    with pytest.raises(Refusal) as refused:
        unpacked(body, bytes_max=100)
    assert refused.value.outcome is outcome


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_unpacking_never_raises_anything_else(body: bytes) -> None:
    try:
        size = len(unpacked(body, bytes_max=100))
    except Refusal as refusal:
        size = {Outcome.OVERSIZE: 0, Outcome.UNREADABLE: 0}[refusal.outcome]
    assert size <= 100
