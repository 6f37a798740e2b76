"""Conditions of runbooks: what is refused when a file is read, and that none can run away."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleetmend.errors import BadInput
from remediation.expressions import ITEMS_MAX, LENGTH_MAX, Expression, Value

CONTEXT: dict[str, Value] = {
    "cause": {"name": "gpu_fallen_off_bus", "score": 0.9},
    "incident": {"provisional": False},
    "evidence": [{"symptom": "xid.79", "witness": "kernel_log"}],
    "node": {"name": "node-0"},
}


def compiled(text: str) -> Expression:
    return Expression(text, where="runbooks/a.yaml line 3 match")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ('cause.name == "gpu_fallen_off_bus"', True),
        ('cause.name in ["engine_hang", "engine_crash"]', False),
        ("cause.score > 0.5 && !incident.provisional", True),
        ('evidence.exists(e, e.witness == "kernel_log" && e.symptom.startsWith("xid."))', True),
        ('evidence.all(e, e.witness == "telemetry")', False),
        ('has(cause.role) || node.name.matches("^node-[0-9]+$")', True),
    ],
)
def test_conditions_give_their_value(text: str, value: bool) -> None:
    assert compiled(text).holds(CONTEXT) is value


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("cause.name ==", "is no CEL"),
        ("", "is no CEL"),
        ("cause.name == 'a' &&& true", "is no CEL"),
        ("secret == 1", "names 'secret'"),
        ("cause.nam == 'x'", "asks for cause.nam"),
        ("evidence.exists(e, e.withness == 'x')", "asks for e.withness"),
        ("evil(cause)", "calls 'evil'"),
        ("timestamp('2020-01-01T00:00:00Z') == cause", "calls 'timestamp'"),
        ("'" + "a" * LENGTH_MAX + "' == ''", "characters"),
        ("[1].all(a, [1].all(b, [1].all(c, true)))", "3 list macros"),
        ("[1] . all (a, [1]. all(b, [1] .exists(c, true)))", "3 list macros"),
        ("(" * 200 + "1" + ")" * 200 + " == 1 || (((", "is no CEL"),
    ],
)
def test_what_may_not_be_used_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words) as refused:
        compiled(text)
    assert refused.value.where == "runbooks/a.yaml line 3 match"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("incident.severity == 'P0'", "cannot be evaluated"),
        ("cause.name > 1", "cannot be evaluated"),
        ("cause.name", "gives str"),
        ("1 / 0 == 1", "cannot be evaluated"),
        ("9223372036854775807 + 1 == 1", "cannot be evaluated"),
        ("cause.name.matches('(')", "cannot be evaluated"),
    ],
)
def test_what_cannot_be_evaluated_is_bad_input(text: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        compiled(text).holds(CONTEXT)


def test_the_worst_allowed_expression_is_bounded() -> None:
    """Two macros over the longest list that fits, on the longest evidence."""
    items: Value = [{"symptom": "s", "witness": "w"} for _ in range(ITEMS_MAX)]
    literal = "[" + ",".join("1" for _ in range(200)) + "]"

    worst = compiled(f"evidence.all(e, {literal}.all(n, n == 1))")

    assert worst.holds({**CONTEXT, "evidence": items}) is True


@given(st.text(max_size=80))
def test_no_text_raises_anything_but_bad_input(text: str) -> None:
    with contextlib.suppress(BadInput):
        compiled(text).holds(CONTEXT)
