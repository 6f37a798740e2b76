"""Every guard, from the world through the gathered facts to the executor: a scene in which it alone
refuses, and the mutation that takes it away.

`test_admit` does the same with facts made by hand; here a fact that is not gathered fails too.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from fleetmend.model.entities import TopologyChange, TopologyOp
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from fleetmend.model.plans import Approval, Autonomy, Refusal, Session
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.halt import HaltState
from fleetmend.settings.remediation import LimitSettings, PoolSettings, WindowSettings
from fleetmend.store import Store
from remediation.admit import admit
from remediation.guards import GUARDS
from remediation.sample import (
    FULL_DEMAND,
    NODES,
    NOW_S,
    engine_id,
    gpu_id,
    node_id,
    sample_incident,
    silence,
)
from tests.unit.remediation.bench import Bench, auto

Scene = Callable[[Store], tuple[Bench, Session]]

WIDE = LimitSettings(taken_max=9, out_max=9, out_fraction=1.0)
TODAY = datetime.fromtimestamp(NOW_S, UTC)
FREEZE = WindowSettings(
    start=TODAY.replace(year=TODAY.year - 1), end=TODAY.replace(year=TODAY.year + 1), reason="fair"
)
OTHER_LINES = {Refusal.HALTED, Refusal.OWNED_BY_OTHER, Refusal.UNKNOWN_TARGET}
"""What is asked again at the very act: without their guard nothing happens all the same."""


def pool(autonomy: Autonomy) -> PoolSettings:
    return PoolSettings(autonomy=autonomy, limits=WIDE)


def plain(store: Store, prepare: Callable[[Bench], object], **lost: Any) -> tuple[Bench, Session]:
    """A lost GPU after `prepare`."""
    bench = Bench(store)
    prepare(bench)
    return bench, bench.lost_gpu(**lost)


def with_settings(store: Store, **settings: Any) -> tuple[Bench, Session]:
    """A lost GPU under other settings."""
    bench = Bench(store, settings=auto(**settings))
    return bench, bench.lost_gpu()


def decided(
    store: Store, *, autonomy: Autonomy, granted: bool, expires_s: float
) -> tuple[Bench, Session]:
    """A lost GPU about whose plan a person has decided."""
    bench, session = with_settings(store, default=pool(autonomy))
    decide(bench, session, granted=granted, expires_s=expires_s)
    return bench, session


def decide(bench: Bench, session: Session, *, granted: bool, expires_s: float) -> None:
    with bench.store.transaction() as tx:
        made = Approval(
            session.plan, session.plan_version, granted, "ada", NOW_S, NOW_S + expires_s, "console"
        )
        tx.approvals.decide(made)


def stale(store: Store) -> tuple[Bench, Session]:
    """A person agreed to what was planned before the diagnosis changed."""
    bench = Bench(store, settings=auto(default=pool(Autonomy.APPROVE)))
    noisy = sample_incident(
        cause="noisy_neighbour",
        entity=gpu_id(0),
        witnesses=(Witness.TELEMETRY,),
        symptom="foreign_process",
    )
    first = bench.happen(noisy)
    assert first is not None
    decide(bench, first, granted=True, expires_s=9000.0)
    bench.work(2.0)
    lost = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu_id(0),
        witnesses=(Witness.KERNEL_LOG, Witness.TELEMETRY),
        symptom="xid.79",
    )
    second = bench.happen(replace(lost, version=2))
    assert second is not None
    assert second.plan_version == 2
    return bench, second


def after_another(store: Store, **limits: Any) -> tuple[Bench, Session]:
    """A second node of a rack with these limits."""
    narrow = WIDE.model_copy(update=limits)
    bench = Bench(store, settings=auto(rack_limits=narrow))
    bench.lost_gpu(entity=gpu_id(1), incident_id="i-other")
    bench.work(3.0)
    return bench, bench.lost_gpu()


def busy(bench: Bench) -> None:
    rows = [
        (NOW_S, engine_id(number), "engine.requests_running", FULL_DEMAND)
        for number in range(NODES)
    ]
    bench.picture.observe(SampleBatch.from_rows(rows))


def alike(found: Finding, numbers: range) -> Callable[[Bench], None]:
    """The same finding on several GPUs."""

    def prepare(bench: Bench) -> None:
        for number in numbers:
            bench.picture.find(replace(found, id=f"f-{number}", entity=gpu_id(number)))

    return prepare


def xid() -> Finding:
    quiet = silence(gpu_id(0))
    return replace(quiet, symptoms=(replace(quiet.symptoms[0], name="xid.79"),))


def foreign(bench: Bench) -> None:
    node = bench.cluster.nodes["node-0"]
    bench.cluster.nodes["node-0"] = replace(node, owner="remediation.medik8s.io/x")


def engines_word(store: Store) -> tuple[Bench, Session]:
    """An engine's page and its log agree on a lost GPU."""
    bench = Bench(store)
    incident = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu_id(0),
        witnesses=(Witness.TELEMETRY, Witness.APPLICATION_LOG),
        symptom="no_progress",
    )
    said = tuple(replace(item, entity=engine_id(0)) for item in incident.evidence)
    session = bench.happen(replace(incident, evidence=said))
    assert session is not None
    return bench, session


def doubted(store: Store) -> tuple[Bench, Session]:
    """A lost GPU that may just as well be something else."""
    bench = Bench(store)
    incident = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu_id(0),
        witnesses=(Witness.KERNEL_LOG, Witness.SILENCE),
        symptom="xid.79",
    )
    (cause, *others) = incident.causes
    session = bench.happen(replace(incident, causes=(replace(cause, score=0.3), *others)))
    assert session is not None
    return bench, session


def topology(op: TopologyOp, **attributes: str) -> Callable[[Bench], object]:
    change = TopologyChange(1.0, op, node_id(0), attributes=attributes)
    return lambda bench: bench.picture.change(change)


def halt(bench: Bench) -> None:
    bench.halt.now = HaltState(halted=True, by="ada", reason="drill")


def behind(bench: Bench) -> None:
    bench.picture.behind = "offsets lost"


SCENES: dict[Refusal, Scene] = {
    Refusal.HALTED: partial(plain, prepare=halt),
    Refusal.UNKNOWN_TARGET: partial(plain, prepare=topology(TopologyOp.ENTITY_GONE)),
    Refusal.CATCHING_UP: partial(plain, prepare=behind),
    Refusal.AUTONOMY_OBSERVE: partial(with_settings, default=pool(Autonomy.OBSERVE)),
    Refusal.AUTONOMY_RECOMMEND: partial(with_settings, default=pool(Autonomy.RECOMMEND)),
    Refusal.APPROVAL_DENIED: partial(
        decided, autonomy=Autonomy.AUTO, granted=False, expires_s=9000.0
    ),
    Refusal.APPROVAL_MISSING: partial(with_settings, default=pool(Autonomy.APPROVE)),
    Refusal.APPROVAL_STALE: stale,
    Refusal.APPROVAL_EXPIRED: partial(
        decided, autonomy=Autonomy.APPROVE, granted=True, expires_s=-1.0
    ),
    Refusal.OWNED_BY_OTHER: partial(plain, prepare=foreign),
    Refusal.HOSTS_PLATFORM: partial(with_settings, platform_nodes=("node-0",)),
    Refusal.MAINTENANCE: partial(
        plain, prepare=topology(TopologyOp.ENTITY, maintenance="disk swap")
    ),
    Refusal.CHANGE_FREEZE: partial(with_settings, freezes=(FREEZE,)),
    Refusal.CAUSE_DOUBTFUL: doubted,
    Refusal.PROVISIONAL: partial(plain, prepare=lambda bench: None, provisional=True),
    Refusal.WITNESSES_MISSING: partial(
        plain, prepare=lambda bench: None, witnesses=(Witness.KERNEL_LOG,)
    ),
    Refusal.NO_OUTSIDE_WITNESS: engines_word,
    Refusal.TELEMETRY_STALE: partial(plain, prepare=alike(silence(gpu_id(0)), range(1))),
    Refusal.DOMAIN_SILENT: partial(plain, prepare=alike(silence(gpu_id(0)), range(1, 4))),
    Refusal.SHARED_PARENT: partial(plain, prepare=alike(xid(), range(5))),
    Refusal.LEVEL_EXCEEDED: partial(after_another, out_max=1),
    Refusal.RATE_EXCEEDED: partial(after_another, taken_max=1),
    Refusal.CAPACITY_SHORT: partial(plain, prepare=busy),
}


def played(scene: Scene, store: Store) -> tuple[set[Refusal], list[str]]:
    """Everything for which the plan was refused, and what was done to its node."""
    bench, session = scene(store)
    bench.work(8.0)
    with store.reading() as tx:
        verdicts = tx.verdicts.for_plan(session.plan)
    refused = {reason.refusal for verdict in verdicts for reason in verdict.reasons}
    done = [change for change in bench.cluster.changes if change.endswith(("node-0", "engine-0"))]
    return refused, done


def test_every_guard_has_a_scene() -> None:
    assert set(SCENES) == set(Refusal)
    assert len(GUARDS) == len(SCENES)


@pytest.mark.parametrize("refusal", Refusal)
def test_each_guard_alone_refuses_in_its_scene_and_its_removal_lets_the_act_through(
    refusal: Refusal, fresh_stores: Iterator[Store], monkeypatch: pytest.MonkeyPatch
) -> None:
    refused, done = played(SCENES[refusal], next(fresh_stores))
    assert refused == {refusal}

    without = tuple(guard for guard in GUARDS if guard.__name__ != refusal.value)
    assert len(without) == len(GUARDS) - 1
    monkeypatch.setattr("remediation.turn.admit", partial(admit, guards=without))
    refused, more = played(SCENES[refusal], next(fresh_stores))

    assert refused == set()
    assert (len(more) > len(done)) is (refusal not in OTHER_LINES)
