"""A store full of made-up incidents: what the pages can show, for tests, screenshots, the preview.

Deterministic: seeded noise, one fixed moment to look from.
"""

from dataclasses import replace

from fleetmend.model.audit import AuditVerb
from fleetmend.model.coverage import LEDGER, Coverage, Freshness
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import (
    Abstention,
    Cause,
    CauseRole,
    Evidence,
    IncidentStatus,
    Severity,
)
from fleetmend.model.plans import (
    Approval,
    Reason,
    Refusal,
    SessionState,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.store import Store, Transaction
from remediation.proposals import plan_id
from tests.unit.console.builder import MADE, NOW_S, Made, engine, gpu, incident, node, plan
from tests.unit.console.hot import hot


def fill(store: Store, *, resolved: int = 24) -> Made:
    """Everything that the pages can show."""
    with store.transaction() as tx:
        for i in range(resolved):
            _resolved(tx, i)
        _silent(tx)
        _leak(tx)
        _hung(tx)
        hot(tx)
        _ledger(tx)
    return MADE


def _ledger(tx: Transaction) -> None:
    """Most are heard; a GPU is frozen, an engine's page refuses, a new engine never spoke."""
    last_s = NOW_S - 4.0
    entries = [
        Coverage(gpu(n, i), last_s, Freshness.FRESH, NOW_S - 900.0, last_s, 1.0, node=node(n))
        for n in range(1, 4)
        for i in range(8)
    ]
    entries[3] = replace(entries[3], state=Freshness.FROZEN, since_s=NOW_S - 130.0)
    refused = "connection refused"
    entries += [
        Coverage(engine(1), last_s, Freshness.ABSENT, NOW_S - 40.0, NOW_S - 46.0, outcome=refused),
        Coverage(engine(2), last_s, Freshness.NEVER, NOW_S - 400.0, pool="chat-h200"),
        Coverage(LEDGER, last_s, Freshness.FRESH, NOW_S - 9000.0),
    ]
    tx.coverage.put(entries)


def _hung(tx: Transaction) -> None:
    opened = NOW_S - 64.0
    pieces = (
        Evidence(
            "E1",
            "f-1",
            gpu(3, 5),
            "xid.79",
            Direction.PRESENT,
            Witness.KERNEL_LOG,
            opened - 0.3,
            1.0,
            detail="NVRM: Xid (PCI:0000:9b:00): 79, GPU has fallen off the bus.",
        ),
        Evidence(
            "E2",
            "f-2",
            gpu(3, 5),
            "telemetry_absent",
            Direction.PRESENT,
            Witness.SILENCE,
            opened + 1.1,
            1.0,
        ),
    )
    cause = Cause(
        "gpu_off_bus",
        gpu(3, 5),
        0.97,
        CauseRole.ROOT,
        ("E1", "E2"),
        (),
        (gpu(3, 5), node(3)),
        ("gpu-off-bus",),
    )
    tx.incidents.put(
        incident(
            MADE.hung,
            title="GPU has fallen off the bus on node-3",
            opened_at_s=opened,
            severity=Severity.P0,
            severity_reason="a GPU is lost",
            evidence=pieces,
            causes=(cause,),
            entity=gpu(3, 5),
            affected=(gpu(3, 5), node(3)),
        )
    )
    made = plan(
        plan_id(MADE.hung), MADE.hung, runbook="gpu-off-bus", number=3, created_at_s=opened + 0.6
    )
    tx.plans.put(made)
    session = tx.sessions.open(made, state=SessionState.PROPOSED, at_s=opened + 0.6)
    session = tx.sessions.claim("remediator-0", now_s=opened + 1, lease_s=1e6) or session
    session = tx.sessions.step(session, StepRecord(0, StepState.DONE, opened + 1.4, 1))
    session = tx.sessions.step(
        session, StepRecord(1, StepState.INTENDED, opened + 3.2, 1, "5 of 9 pods left")
    )
    tx.sessions.advance(session, state=SessionState.RUNNING, reason="", at_s=opened + 3.2)


def _leak(tx: Transaction) -> None:
    opened = NOW_S - 3 * 3600.0
    pieces = (
        Evidence(
            "E1",
            "f-1",
            engine(11),
            "engine.memory_allocated",
            Direction.UP,
            Witness.MODEL,
            opened - 900,
            6.2,
            71.4e9,
            None,
            64.1e9,
            "By",
        ),
    )
    cause = Cause(
        "engine_memory_leak",
        engine(11),
        0.62,
        CauseRole.CANDIDATE,
        ("E1",),
        (),
        (engine(11),),
        ("engine-restart",),
    )
    tx.incidents.put(
        incident(
            MADE.leak,
            title="Memory of llama-70b-11 grows without load",
            opened_at_s=opened,
            severity=Severity.P2,
            severity_reason="GPU memory over 90 %",
            evidence=pieces,
            causes=(cause,),
            entity=engine(11),
            affected=(engine(11),),
        )
    )
    made = plan(
        plan_id(MADE.leak), MADE.leak, runbook="engine-restart", number=11, created_at_s=opened + 30
    )
    tx.plans.put(made)
    session = tx.sessions.open(made, state=SessionState.PROPOSED, at_s=opened + 30)
    session = tx.sessions.claim("remediator-0", now_s=opened + 31, lease_s=1e6) or session
    tx.sessions.advance(
        session, state=SessionState.WAITING, reason="autonomy_recommend", at_s=opened + 31
    )
    tx.verdicts.put(
        Verdict(
            made.id,
            1,
            0,
            opened + 31,
            (Reason(Refusal.AUTONOMY_RECOMMEND, "pool chat-h200 only recommends"),),
        )
    )


def _silent(tx: Transaction) -> None:
    opened = NOW_S - 5400.0
    tx.incidents.put(
        incident(
            MADE.silent,
            title="Telemetry of rack r31 is missing",
            opened_at_s=opened,
            severity=Severity.P2,
            severity_reason="coverage of a domain is lost",
            abstention=Abstention.BLIND,
            entity=entity_id("prod-1", EntityKind.RACK, "r31"),
            affected=tuple(node(n) for n in range(40, 48)),
            next_check="Probe node-41 from outside the rack",
        )
    )


_PAST = (
    ("Xid 48 on node-{n}: double-bit ECC error", "gpu_ecc_dbe", Severity.P0, 780),
    ("Slow all-reduce of llama-70b-{n}", "nvlink_degraded", Severity.P1, 340),
    ("Engine llama-70b-{n} hangs with work in hand", "engine_hang", Severity.P1, 96),
    ("KV cache of llama-70b-{n} thrashes", "kv_cache_pressure", Severity.P2, 610),
)


def _resolved(tx: Transaction, i: int) -> None:
    """One of the incidents of the last days, mended by fleetmend, by a person, or by itself."""
    title, cause, severity, length_s = _PAST[i % len(_PAST)]
    opened = NOW_S - 7200.0 - i * 5400.0
    name, place = f"inc-past{i:03d}", 20 + i
    tx.incidents.put(
        incident(
            name,
            title=title.format(n=place),
            opened_at_s=opened,
            status=IncidentStatus.RESOLVED,
            severity=severity,
            length_s=length_s + 7.0 * i,
            change="resolved",
            entity=node(place),
            causes=(Cause(cause, node(place), 0.8, CauseRole.ROOT, (), (), (), ()),),
        )
    )
    if i % 5 == 4:
        return
    made = plan(
        f"p-past{i:03d}",
        name,
        runbook=cause.replace("_", "-"),
        number=place,
        created_at_s=opened + 4,
    )
    tx.plans.put(made)
    session = tx.sessions.open(made, state=SessionState.PROPOSED, at_s=opened + 4)
    session = tx.sessions.claim("remediator-0", now_s=opened + 5, lease_s=10) or session
    for s in made.steps:
        session = tx.sessions.step(
            session, StepRecord(s.index, StepState.DONE, opened + 9 + 30 * s.index, 1)
        )
    if i % 7 == 3:
        tx.approvals.decide(Approval(made.id, 1, True, "Ana", opened + 60, opened + 960, "console"))
    state = SessionState.FAILED if i % 11 == 6 else SessionState.DONE
    reason = "verify_failed" if state is SessionState.FAILED else "given_back"
    tx.sessions.advance(session, state=state, reason=reason, at_s=opened + length_s)
    tx.audit.append(
        at_s=opened + length_s,
        actor="fleetmend/remediator",
        verb=AuditVerb.GAVE_BACK,
        subject=session.id,
        detail={"node": f"node-{place}"},
    )
