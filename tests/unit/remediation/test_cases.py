"""The examples that runbooks carry pass, and an example that is wrong fails with its own words."""

from dataclasses import replace

import pytest

from fleetmend.model.plans import ActionKind, Refusal
from remediation.cases import CaseResult, run_examples
from remediation.runbook import Example, Expected
from remediation.runbook_files import Runbook
from tests.unit.remediation.bench import RUNBOOKS

RESULTS = run_examples(RUNBOOKS)


@pytest.mark.parametrize("result", RESULTS, ids=[f"{r.runbook}: {r.name}" for r in RESULTS])
def test_every_example_of_every_runbook_passes(result: CaseResult) -> None:
    assert result.failures == ()


def expecting(expect: Expected) -> tuple[str, ...]:
    """The failures of the first example of gpu-fallen-off-bus, were it to expect this."""
    runbook = next(r for r in RUNBOOKS if r.id == "gpu-fallen-off-bus")
    first = runbook.file.tests[0]
    changed = Example(name=first.name, given=first.given, expect=expect)
    file = runbook.file.model_copy(update={"tests": (changed,)})
    wrong: Runbook = replace(runbook, file=file)
    return run_examples([wrong])[0].failures


def test_an_example_that_expects_too_little_fails() -> None:
    assert expecting(Expected(acts=(ActionKind.CORDON,))) == (
        "acts: expected cordon; got cordon, notify, drain",
    )


def test_an_example_that_expects_a_refusal_that_does_not_come_fails() -> None:
    acts = (ActionKind.CORDON, ActionKind.NOTIFY, ActionKind.DRAIN)
    refused: dict[ActionKind, tuple[Refusal, ...]] = {
        ActionKind.DRAIN: (Refusal.WITNESSES_MISSING,)
    }

    assert expecting(Expected(acts=acts, refused=refused)) == (
        "refused: expected drain: witnesses_missing; got none",
    )


def test_an_example_that_expects_no_plan_fails_when_there_is_one() -> None:
    assert expecting(Expected(no_plan=True)) == ("matched: True",)


def test_an_example_that_expects_the_wrong_return_fails() -> None:
    acts = (ActionKind.CORDON, ActionKind.NOTIFY, ActionKind.DRAIN)

    assert expecting(Expected(acts=acts, gives_back=(ActionKind.RESTORE,))) == (
        "gives back: expected restore; got uncordon",
    )
