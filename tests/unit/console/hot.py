"""The rich made-up incident: heat slows a GPU, its engine's latency breaks, a drain waits."""

import math
import random
from dataclasses import replace

import numpy as np

from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import EntityId
from fleetmend.model.events import Witness
from fleetmend.model.findings import Direction
from fleetmend.model.incidents import (
    Cause,
    CauseRole,
    Evidence,
    Severity,
)
from fleetmend.model.plans import (
    Reason,
    Refusal,
    SessionState,
    StepRecord,
    StepState,
    Verdict,
)
from fleetmend.store import Transaction
from tests.unit.console.builder import MADE, MODEL, NOW_S, engine, gpu, incident, node, plan

Said = dict[str, str | int | float | bool | None]


def hot(tx: Transaction) -> None:
    """The rich one: a GPU slows down by heat, its engine's latency breaks, a drain waits."""
    opened = NOW_S - 372.0
    pieces = _hot_evidence(opened)
    root = Cause(
        "gpu_thermal_slowdown",
        gpu(7, 1),
        0.91,
        CauseRole.ROOT,
        ("E2", "E1", "E5"),
        ("absent:gpu.power_violation",),
        (gpu(7, 1), engine(7), MODEL),
        ("gpu-thermal-slowdown",),
    )
    load = Cause(
        "long_prompt_burst",
        MODEL,
        0.24,
        CauseRole.CONTRIBUTING,
        ("E4",),
        ("E3",),
        (MODEL, engine(7)),
        (),
    )
    rollout = Cause(
        "engine_rollout",
        engine(7),
        0.03,
        CauseRole.RULED_OUT,
        (),
        ("absent:change.rollout",),
        (engine(7),),
        (),
    )
    base = incident(
        MADE.hot,
        title="TPOT p95 above its budget for llama-3.3-70b on pool chat-h200",
        opened_at_s=opened,
        severity=Severity.P1,
        evidence=pieces[:3],
        causes=(root,),
        affected=(gpu(7, 1), node(7), engine(7), MODEL),
        next_check="Compare the inlet temperature of node-7 with its neighbours in rack r12",
    )
    tx.incidents.put(base)
    ranked = replace(
        base,
        version=2,
        change="cause_changed",
        causes=(root, load, rollout),
        updated_at_s=opened + 3,
    )
    tx.incidents.put(ranked)
    tx.incidents.put(
        replace(
            ranked, version=3, change="evidence_added", evidence=pieces, updated_at_s=opened + 9
        )
    )
    _hot_series(tx, opened)
    _hot_repair(tx, opened)


def _hot_evidence(opened: float) -> tuple[Evidence, ...]:
    def piece(
        number: int,
        entity: EntityId,
        symptom: str,
        direction: Direction,
        witness: Witness,
        onset: float,
        score: float,
        observed: float | None = None,
        band: tuple[float | None, float | None] = (None, None),
        unit: str = "",
        detail: str = "",
    ) -> Evidence:
        return Evidence(
            f"E{number}",
            f"f-{number}",
            entity,
            symptom,
            direction,
            witness,
            opened + onset,
            score,
            observed,
            band[0],
            band[1],
            unit,
            detail,
        )

    up, down, present = Direction.UP, Direction.DOWN, Direction.PRESENT
    telemetry = Witness.TELEMETRY
    return (
        piece(1, gpu(7, 1), "gpu.sm_clock", down, telemetry, -4.2, 41.0, 345, (1905, 1980), "MHz"),
        piece(2, gpu(7, 1), "gpu.temperature", up, telemetry, -38, 17.5, 91, (None, 78), "Cel"),
        piece(
            3, engine(7), "engine.tpot_p95", up, telemetry, 0.2, 12.4, 0.214, (0.031, 0.052), "s"
        ),
        piece(
            4, engine(7), "engine.requests_waiting", up, telemetry, 6, 9.1, 63, (0, 9), "{request}"
        ),
        piece(
            5,
            gpu(7, 1),
            "log.gpu_thermal_slowdown",
            present,
            Witness.KERNEL_LOG,
            -2.0,
            1.0,
            detail="NVRM: GPU at PCI:0000:4a:00: clocks reduced, HW thermal slowdown asserted",
        ),
        piece(
            6,
            node(7),
            "node_condition.GpuThermal",
            present,
            Witness.CLUSTER_API,
            4.5,
            1.0,
            detail="True since 17:53:52, reason ThermalSlowdown",
        ),
        piece(
            7,
            engine(7),
            "change.config",
            present,
            Witness.CLUSTER_API,
            -150,
            0.2,
            detail="max_num_seqs 256 to 320, by argocd",
        ),
    )


def _hot_series(tx: Transaction, opened: float) -> None:
    rng = random.Random(7)
    times = [opened - 420 + 2 * i for i in range(390)]

    def rise(t: float, at: float, width: float) -> float:
        return 1 / (1 + math.exp(-(t - opened - at) / width))

    def put(entity: EntityId, signal: str, unit: str, values: list[float]) -> None:
        points = np.array(times), np.array(values)
        tx.series.extend(MADE.hot, entity, signal, points, unit)

    relief = [rise(t, 95, 14) for t in times]
    put(
        gpu(7, 1),
        "gpu.sm_clock",
        "MHz",
        [1965 - 1610 * rise(t, -2, 3) + rng.uniform(-12, 12) for t in times],
    )
    put(
        gpu(7, 1),
        "gpu.temperature",
        "Cel",
        [61 + 31 * rise(t, -30, 16) + rng.uniform(-0.8, 0.8) for t in times],
    )
    slow = [rise(t, 3, 5) * (1 - 0.86 * r) for t, r in zip(times, relief, strict=True)]
    put(
        engine(7),
        "engine.tpot_p95",
        "s",
        [0.041 + 0.178 * s + rng.uniform(-0.004, 0.004) for s in slow],
    )
    put(
        engine(7),
        "engine.requests_waiting",
        "{request}",
        [max(0.0, 3 + 61 * s + rng.uniform(-2.5, 2.5)) for s in slow],
    )
    for i in (0, 2, 3):
        put(gpu(7, i), "gpu.sm_clock", "MHz", [1962 + rng.uniform(-10, 10) for _ in times])
        put(gpu(7, i), "gpu.temperature", "Cel", [60 + i + rng.uniform(-0.7, 0.7) for _ in times])
    for i in (3, 4, 9):
        put(engine(i), "engine.tpot_p95", "s", [0.04 + rng.uniform(-0.003, 0.003) for _ in times])
        put(
            engine(i),
            "engine.requests_waiting",
            "{request}",
            [max(0.0, rng.gauss(3, 1)) for _ in times],
        )


def _hot_repair(tx: Transaction, opened: float) -> None:
    made = plan(MADE.plan, MADE.hot, created_at_s=opened + 3.5)
    tx.plans.put(made)
    session = tx.sessions.open(made, state=SessionState.PROPOSED, at_s=opened + 3.5)
    session = tx.sessions.claim("remediator-0", now_s=opened + 4, lease_s=1e6) or session
    session = tx.sessions.step(
        session, StepRecord(0, StepState.DONE, opened + 5.8, 1, "resourceVersion 48211")
    )
    session = tx.sessions.step(session, StepRecord(1, StepState.REFUSED, opened + 7))
    tx.sessions.advance(
        session, state=SessionState.WAITING, reason="approval_missing", at_s=opened + 7
    )
    tx.verdicts.put(Verdict(made.id, 1, 0, opened + 4.1, ()))
    tx.verdicts.put(
        Verdict(
            made.id,
            1,
            1,
            opened + 7,
            (
                Reason(Refusal.APPROVAL_MISSING, "plan version 1 waits for a person"),
                Reason(Refusal.RATE_EXCEEDED, "rack r12: number 2 within 600 s, 1 is allowed"),
            ),
            ("explained_silence",),
        )
    )
    us = "fleetmend/remediator"
    base: Said = {"incident": MADE.hot, "plan": made.id, "plan_version": 1, "fence": 1}
    cordon = base | {"step": 0, "action": "cordon", "effect": "reversible", "target": node(7)}
    drain = base | {"step": 1, "action": "drain", "effect": "disruptive", "target": node(7)}
    refused = drain | {"approval_missing": "waits for a person", "rate_exceeded": "rack r12"}
    told: Said = {"receiver": "on-call chat", "outcome": "accepted", "attempts": 1}
    said: list[tuple[float, str, AuditVerb, str, Said]] = [
        (0.0, "fleetmend/rca", AuditVerb.INCIDENT_OPENED, MADE.hot, {"severity": "P1"}),
        (3.5, us, AuditVerb.PLAN_PROPOSED, made.id, {"runbook": made.runbook}),
        (4.4, us, AuditVerb.INTENT, session.id, cordon),
        (5.8, us, AuditVerb.OUTCOME, session.id, cordon | {"outcome": "done"}),
        (6.6, us, AuditVerb.VERIFIED, session.id, cordon | {"check": "node_unschedulable"}),
        (7.0, us, AuditVerb.VERDICT, session.id, refused),
        (8.2, us, AuditVerb.NOTIFIED, MADE.hot, told),
    ]
    for at, actor, verb, subject, detail in said:
        tx.audit.append(
            at_s=opened + at, actor=actor, verb=verb, subject=subject, detail={**detail}
        )
    tx.notes.add(MADE.hot, "Ana", opened + 61, "Facilities confirm a failed fan tray in r12.")
    tx.audit.append(
        at_s=opened + 61,
        actor="Ana",
        verb=AuditVerb.NOTE,
        subject=MADE.hot,
        detail={"text": "Facilities confirm a failed fan tray in r12."},
    )
