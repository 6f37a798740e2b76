"""Numbers as people read them, and charts that lose no spike."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from console import words
from console.assets import STATIC
from console.figures import name_of, plain, quantity, span
from console.present.automation import REFUSAL
from console.present.evidence import silences, thin
from console.present.summary import checks
from console.words import humanise, shorten
from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.incidents import Abstention, CauseRole, IncidentStatus, Severity
from fleetmend.model.plans import ActionKind, Effect, Refusal, SessionState, StepState


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (6.4, "6.4s"), (41, "41s"), (372, "6m 12s"), (3600, "1h 00m"), (93784, "1d 02h")],
)
def test_a_span_has_its_two_largest_units(seconds: float, text: str) -> None:
    assert span(seconds) == text


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (345.0, "MHz", "345 MHz"),
        (91.0, "Cel", "91 °C"),
        (0.214, "s", "214 ms"),
        (2.5, "s", "2.50 s"),
        (0.031, "ratio", "3.10 %"),
        (71.4e9, "By", "66.5 GiB"),
        (1234567.0, "{token}/s", "1.23 Mtokens/s"),
        (63.0, "{request}", "63"),
        (None, "W", "\N{EN DASH}"),
        (math.inf, "W", "not a number"),
    ],
)
def test_a_quantity_is_written_as_people_write_it(
    value: float | None, unit: str, text: str
) -> None:
    assert quantity(value, unit) == text


def test_a_line_breaks_where_nothing_was_heard() -> None:
    every_second = [float(t) for t in range(20)]

    assert silences(np.array([*every_second, 60.0, 61.0])) == {20}
    assert silences(np.array(every_second)) == frozenset()
    assert silences(np.array([0.0, 60.0, 120.0, 190.0])) == frozenset()  # this one is slow
    assert silences(np.array([1.0])) == frozenset()


def test_the_next_checks_are_one_thing_each_in_plain_words() -> None:
    told = checks(
        "take a stack dump; to tell rank_hang from engine_hang see whether it is idle: it speaks "
        "for rank_hang;"
    )

    assert told == (
        "Take a stack dump",
        "To tell rank hang from engine hang see whether it is idle: it speaks for rank hang",
    )
    assert checks("") == ()


@given(st.floats(allow_nan=True, allow_infinity=True), st.text(max_size=50))
def test_no_number_and_no_unit_breaks_a_page(value: float, unit: str) -> None:
    assert len(quantity(value, unit)) < 60
    assert 0 < len(span(value)) < 30
    assert 0 < len(plain(value)) < 30


@given(st.text(max_size=600), st.integers(2, 80))
def test_shortened_text_is_one_printable_line(text: str, most: int) -> None:
    short = shorten(text, most)
    assert len(short) <= most
    assert short.isprintable() or not short


@given(st.text(max_size=300))
def test_any_name_can_be_shown(name: str) -> None:
    assert len(humanise(name)) <= 130
    assert len(name_of(EntityId(name))) <= 120


def test_names_are_made_readable_by_rule() -> None:
    assert humanise("gpu.sm_clock") == "GPU SM clock"
    assert humanise("xid.79") == "Xid 79"
    assert humanise("vllm_core_dead") == "vLLM core dead"
    assert humanise("node_condition.Ready") == "Node condition Ready"


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=900), st.integers(20, 200))
def test_thinning_keeps_the_extremes_the_order_and_the_bound(
    values: list[float], most: int
) -> None:
    array = np.array(values)
    keep = thin(array, most)
    assert len(keep) <= most
    assert (np.diff(keep) > 0).all()
    assert array[keep].max() == array.max()
    assert array[keep].min() == array.min()


def test_every_code_has_its_words() -> None:
    for table, codes in (
        (words.SEVERITY, Severity),
        (words.STATUS, IncidentStatus),
        (words.AUTOMATION, SessionState),
        (words.STEP, StepState),
        (words.ROLE, CauseRole),
        (words.EFFECT, Effect),
        (words.ACTION, ActionKind),
        (words.WITNESS, Witness),
        (words.ABSTENTION, Abstention),
        (words.VERB, AuditVerb),
        (REFUSAL, Refusal),
    ):
        assert set(table) == set(codes)


def test_every_icon_that_is_named_is_built() -> None:
    root = STATIC.parent
    built = set((root.parent / "web" / "icons.txt").read_text().split())
    named = {
        word.icon
        for table in (words.SEVERITY, words.STATUS, words.AUTOMATION, words.STEP, words.ROLE)
        for word in table.values()
    } | {word.icon for word in (*words.VERB.values(), *words.CHANGE.values())}
    assert named <= built
