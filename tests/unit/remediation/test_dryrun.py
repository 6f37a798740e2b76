"""A dry run shows everything and sends nothing."""

from dataclasses import replace

import pytest

from fleetmend.model.events import Witness
from fleetmend.model.plans import ActionKind, Refusal, SessionState, StepState
from fleetmend.ports.halt import HaltState
from remediation.dryrun import DryRun, Rehearsal, Sources
from remediation.gather import Books, TakenUnit
from remediation.plan import plan
from remediation.sample import NOW_S, engine_id, gpu_id, node_id, sample_incident
from tests.unit.remediation.bench import BOTH, RUNBOOKS, Bench


def rehearsal(
    bench: Bench,
    *,
    cause: str = "gpu_fallen_off_bus",
    witnesses: tuple[Witness, ...] = BOTH,
    books: Books | None = None,
) -> DryRun:
    """A dry run over the fakes: were anything sent, they would count it."""
    engine = cause.startswith("engine")
    incident = sample_incident(
        cause=cause,
        entity=engine_id(0) if engine else gpu_id(0),
        witnesses=witnesses,
        symptom="no_progress" if engine else "xid.79",
    )
    proposed = plan(incident, bench.picture.topology, RUNBOOKS, NOW_S)
    assert proposed is not None
    return DryRun(
        proposed,
        incident,
        sources=Sources(bench.cluster, bench.traffic, bench.engines),
        picture=bench.picture,
        runbooks=RUNBOOKS,
        halt=bench.halt,
        settings=bench.settings,
        books=books or Books(),
        at_s=NOW_S,
    )


def sent(bench: Bench) -> list[str]:
    return [*bench.cluster.changes, *bench.traffic.changes, *bench.engines.changes, *bench.notes()]


@pytest.mark.parametrize(
    ("cause", "there", "back"),
    [
        (
            "gpu_fallen_off_bus",
            ["quarantine node-0", "tell", "evict serving/engine-0"],
            ["release node-0"],
        ),
        ("engine_hang", ["weight engine-0 0", "restart engine-0"], ["weight engine-0 80"]),
    ],
)
def test_a_rehearsal_shows_the_way_there_and_back_and_sends_nothing(
    bench: Bench, cause: str, there: list[str], back: list[str]
) -> None:
    dry_run = rehearsal(bench, cause=cause)

    shown: Rehearsal = dry_run.run()
    assert [said[: len(want)] for said, want in zip(shown.said, there, strict=True)] == there
    assert shown.session.state is SessionState.HOLDING
    assert dry_run.resolve().said[len(there) :] == tuple(back)
    assert sent(bench) == []
    assert bench.active() == []


def test_a_rehearsal_stops_where_admission_would(bench: Bench) -> None:
    dry_run = rehearsal(bench, witnesses=(Witness.KERNEL_LOG,))

    shown = dry_run.run()

    assert shown.session.state is SessionState.WAITING
    assert [r.state for r in shown.session.steps] == [
        StepState.DONE,
        StepState.DONE,
        StepState.REFUSED,
    ]
    assert [r.refusal for r in shown.verdicts[-1].reasons] == [Refusal.WITNESSES_MISSING]


def test_a_rehearsal_counts_what_is_really_out(bench: Bench) -> None:
    """Five are what the runbook's own blast limits allow."""
    units = tuple(
        TakenUnit(node_id(n), ActionKind.CORDON, NOW_S - 1, True, f"s-{n}", "gpu-fallen-off-bus")
        for n in range(1, 6)
    )

    shown = rehearsal(bench, books=Books(units)).run()

    refusals = {r.refusal for r in shown.verdicts[-1].reasons}
    assert refusals == {Refusal.LEVEL_EXCEEDED, Refusal.RATE_EXCEEDED}


def test_a_rehearsal_heeds_the_halt_as_the_real_thing_does(bench: Bench) -> None:
    bench.halt.now = HaltState(halted=True, by="ada", reason="drill")

    shown = rehearsal(bench).run()

    assert shown.said == ()
    assert shown.session.reason == "halted"


def test_paper_refuses_what_the_real_cluster_would(bench: Bench) -> None:
    """A stale read is refused on paper, too, and the executor reads again."""
    bench.cluster.nodes["node-0"] = replace(bench.cluster.nodes["node-0"], owner="another tool")

    shown = rehearsal(bench).run()

    assert shown.said == ()
    assert [r.refusal for r in shown.verdicts[-1].reasons] == [Refusal.OWNED_BY_OTHER]
