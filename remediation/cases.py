"""Run the examples that each runbook carries: planner, admission and executor on a small fleet.

Called by `fleetmend runbook test` and by the unit tests. An example says what must be done, where
and why it must stop, and what must be given back; anything else is a failure with its own words.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from fleetmend.model.plans import Approval, Plan, StepState, Verdict
from fleetmend.ports.halt import HaltState
from fleetmend.settings.remediation import LimitSettings, PoolSettings, RemediationSettings
from remediation.dryrun import DryRun
from remediation.gather import Books
from remediation.plan import plan
from remediation.runbook import Example, Given
from remediation.runbook_files import Runbook
from remediation.sample import (
    CALM_DEMAND,
    FULL_DEMAND,
    NOW_S,
    engine_id,
    gpu_id,
    node_id,
    sample_incident,
    sample_picture,
    sample_sources,
    silence,
)

_ENTITY = {"gpu": gpu_id(0), "engine": engine_id(0), "node": node_id(0)}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """How one example went."""

    runbook: str
    name: str
    failures: tuple[str, ...]
    """What was not as expected; none: it passed."""


class FixedHalt:
    """A halt switch in one position."""

    def __init__(self, state: HaltState) -> None:
        self._state = state

    def state(self) -> HaltState:
        """As given."""
        return self._state

    def set(self, state: HaltState) -> None:
        """The other position."""
        self._state = state


def run_examples(runbooks: Iterable[Runbook]) -> list[CaseResult]:
    """Every example of every runbook."""
    return [
        CaseResult(runbook.id, example.name, tuple(_failures(runbook, example)))
        for runbook in runbooks
        for example in runbook.file.tests
    ]


def _failures(runbook: Runbook, example: Example) -> list[str]:
    given, expect = example.given, example.expect
    entity = _ENTITY[given.entity]
    incident = sample_incident(
        cause=given.cause,
        entity=entity,
        witnesses=given.witnesses,
        symptom=given.symptom,
        provisional=given.provisional,
    )
    settings = _settings(given)
    picture = sample_picture(
        settings,
        nodes_out=given.nodes_out,
        demand=CALM_DEMAND if given.spare else FULL_DEMAND,
    )
    if given.silent:
        picture.find(silence(entity))
    proposed = plan(incident, picture.topology, [runbook], NOW_S)
    if proposed is None or expect.no_plan:
        matched = proposed is not None
        return [] if matched is not expect.no_plan else [f"matched: {matched}"]
    dry_run = DryRun(
        proposed,
        incident,
        sources=sample_sources(owner=given.owner),
        picture=picture,
        runbooks=[runbook],
        halt=FixedHalt(HaltState(given.halted, by="example", reason="example")),
        settings=settings,
        books=_books(given, proposed),
        at_s=NOW_S,
    )
    rehearsal = dry_run.run()
    forward = dry_run.done()
    found = _difference("acts", [kind.value for kind in expect.acts], forward)
    found += _difference("refused", _expected(example), _refused(proposed, rehearsal.verdicts))
    if expect.gives_back:
        dry_run.resolve()
        wanted = [kind.value for kind in expect.gives_back]
        found += _difference("gives back", wanted, dry_run.done()[len(forward) :])
    failed = [r.detail for r in rehearsal.session.steps if r.state is StepState.FAILED]
    return found + _difference("failed steps", [], failed)


def _settings(given: Given) -> RemediationSettings:
    """The settings as shipped, on a pool of the given autonomy, large enough for its rack to
    decide."""
    pool = PoolSettings(autonomy=given.autonomy, limits=LimitSettings(out_fraction=0.5))
    return RemediationSettings(default=pool, fleet_limits=LimitSettings(out_fraction=0.5))


def _books(given: Given, proposed: Plan) -> Books:
    if given.approved is None:
        return Books()
    decision = Approval(
        plan=proposed.id,
        plan_version=proposed.version,
        granted=given.approved,
        by="example",
        at_s=NOW_S,
        expires_at_s=NOW_S + 900,
        channel="example",
    )
    return Books(approval=decision)


def _expected(example: Example) -> list[str]:
    return sorted(
        f"{action.value}: {refusal.value}"
        for action, refusals in example.expect.refused.items()
        for refusal in refusals
    )


def _refused(proposed: Plan, verdicts: tuple[Verdict, ...]) -> list[str]:
    """The last verdict, when it is no: that is where the plan stopped."""
    if not verdicts or verdicts[-1].admitted:
        return []
    last = verdicts[-1]
    action = proposed.steps[last.step].action
    return sorted(f"{action.value}: {reason.refusal.value}" for reason in last.reasons)


def _difference(what: str, wanted: list[str], got: list[str]) -> list[str]:
    if wanted == got:
        return []
    return [f"{what}: expected {', '.join(wanted) or 'none'}; got {', '.join(got) or 'none'}"]
