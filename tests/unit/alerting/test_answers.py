"""From answers to outcomes, and from failures to waits."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.answers import RETRY_AFTER_MAX_S, attempt, judge, retry_after_s
from alerting.retry import next_wait_s
from alerting.transport import Answer, MalformedAnswer
from fleetmend.errors import PortError, PortRefused
from fleetmend.model.notifications import DeliveryState

NOW_S = 1_795_406_582.0
WAITS_S = (5.0, 30.0, 120.0)


@pytest.mark.parametrize(
    ("status", "state"),
    [
        (200, DeliveryState.ACCEPTED),
        (202, DeliveryState.ACCEPTED),
        (204, DeliveryState.ACCEPTED),
        (301, DeliveryState.REJECTED),
        (307, DeliveryState.REJECTED),
        (400, DeliveryState.REJECTED),
        (401, DeliveryState.REJECTED),
        (404, DeliveryState.REJECTED),
        (408, DeliveryState.RETRY),
        (409, DeliveryState.RETRY),
        (410, DeliveryState.GONE),
        (425, DeliveryState.RETRY),
        (429, DeliveryState.RETRY),
        (500, DeliveryState.RETRY),
        (503, DeliveryState.RETRY),
        (999, DeliveryState.REJECTED),
    ],
)
def test_each_status_has_its_outcome(status: int, state: DeliveryState) -> None:
    assert judge(Answer(status, "", b""), now_s=NOW_S).state is state


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        ("7", 7.0),
        (" 7 ", 7.0),
        ("0", 0.0),
        ("99999999999999999999", RETRY_AFTER_MAX_S),
        (format_datetime(datetime.fromtimestamp(NOW_S + 90, UTC), usegmt=True), 90.0),
        (format_datetime(datetime.fromtimestamp(NOW_S - 90, UTC), usegmt=True), 0.0),
        ("", None),
        ("-7", None),
        ("soon", None),
        ("\u0667", None),
        ("Mon, 99 Foo 2026 99:99:99 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header: str, wait_s: float | None) -> None:
    assert retry_after_s(header, now_s=NOW_S) == wait_s


@given(st.text(max_size=60))
def test_no_retry_after_breaks_us_or_makes_us_wait_for_ever(header: str) -> None:
    wait_s = retry_after_s(header, now_s=NOW_S)
    assert wait_s is None or 0.0 <= wait_s <= RETRY_AFTER_MAX_S


class RaisingPoster:
    """Fails as told."""

    def __init__(self, error: PortError) -> None:
        self._error = error

    def post(self, url: str, *, body: bytes, headers: Mapping[str, str]) -> Answer:
        """Never an answer."""
        raise self._error


@pytest.mark.parametrize(
    ("error", "state", "answer"),
    [
        (PortError("no answer within 10 s"), DeliveryState.RETRY, b""),
        (MalformedAnswer("not HTTP", b"\x16\x03"), DeliveryState.RETRY, b"\x16\x03"),
        (PortRefused("10.0.0.1 is not a public address"), DeliveryState.REJECTED, b""),
    ],
)
def test_no_answer_is_an_outcome_too(error: PortError, state: DeliveryState, answer: bytes) -> None:
    delivery, got = attempt(RaisingPoster(error), "https://x", body=b"", headers={}, now_s=NOW_S)

    assert (delivery.state, delivery.answer, got) == (state, answer, None)


def test_waits_follow_the_schedule_and_end() -> None:
    waits = [
        next_wait_s(WAITS_S, failures, retry_after_s=None, jitter=0.0, rng=random.Random(1))
        for failures in (1, 2, 3, 4)
    ]
    assert waits == [5.0, 30.0, 120.0, None]


@given(
    st.integers(1, 3),
    st.none() | st.floats(0, 3600),
    st.floats(0, 1),
    st.randoms(use_true_random=False),
)
def test_a_wait_is_never_shorter_than_asked_nor_than_the_schedule(
    failures: int, asked_s: float | None, jitter: float, rng: random.Random
) -> None:
    wait_s = next_wait_s(WAITS_S, failures, retry_after_s=asked_s, jitter=jitter, rng=rng)

    assert wait_s is not None
    assert wait_s >= WAITS_S[failures - 1]
    assert wait_s >= (asked_s or 0.0)
    assert wait_s <= max(WAITS_S[failures - 1] * (1 + jitter), asked_s or 0.0)
