"""From a case to the incident record that is published, and whether there is anything new in it.

Called by `rca.analyst` at the end of a tick and by `rca.provisional` on arrival. Pure.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from fleetmend.model.entities import EntityId, EntityKind, kind_of
from fleetmend.model.incidents import (
    Abstention,
    Cause,
    CauseRole,
    Evidence,
    Incident,
    IncidentStatus,
)
from fleetmend.settings.rca import SeveritySettings
from fleetmend.views.topology import TopologyView
from rca.case import EVIDENCE_MAX, Case
from rca.evidence import Key, Observation, overlay
from rca.explain import evidence_words, next_check, title
from rca.infer import NOTHING, Explained, Ranked, evaluate, posterior, rank, rivals_of
from rca.scene import Hypothesis, Scene
from rca.severity import grade

CAUSES_MAX = 5
AFFECTED_MAX = 1000
"""Entities that an incident names as affected; the first by id of more."""
_RIVALS_OF_SIGN = 16
"""Entities of each sign whose faults are weighed as rivals: two nodes' worth of GPUs."""
_WORTH_SHOWING = -4.0
"""Log-odds below which a rival is not worth a line."""


def to_record(
    case: Case,
    scene: Scene,
    *,
    at_s: float,
    topology: TopologyView,
    severity: SeveritySettings,
    elsewhere: Explained = NOTHING,
) -> Incident:
    """The whole state of a case as an incident, not yet numbered. `elsewhere` is what the faults of
    other cases leave unexplained."""
    seen_by = with_evidence(scene, case)
    first, rivals = diagnose(seen_by, case, elsewhere)
    abstention = abstain(seen_by, first, rivals)
    graded = grade(
        None if case.root is None else scene.fault(case.root),
        root=_entity(case),
        evidence=case.evidence,
        onset_s=case.onset_s,
        now_s=scene.now_s,
        topology=topology,
        settings=severity,
    )
    open_keys = [key for key in case.keys if key in scene.observed]
    return Incident(
        id=case.id,
        version=case.version,
        status=case.status,
        provisional=case.provisional,
        severity=graded.severity,
        severity_reason=graded.reason,
        entity=_entity(case),
        title=title(case.root, case.evidence, scene.knowledge, abstention),
        opened_at_s=case.opened_at_s,
        updated_at_s=at_s,
        onset_s=case.onset_s,
        causes=_causes(seen_by, case, first, rivals, abstention),
        evidence=_evidence(case, scene),
        affected=tuple(_affected(case)[:AFFECTED_MAX]),
        abstention=abstention,
        next_check=next_check(seen_by, first, rivals),
        resolved_at_s=at_s if case.status is IncidentStatus.RESOLVED else None,
        merged_into=case.merged_into,
        open_findings=len({scene.observed[key].finding for key in open_keys}),
        evidence_count=len(case.keys),
        affected_count=len(_affected(case)),
    )


def with_evidence(scene: Scene, case: Case) -> Scene:
    """The scene as the case knows it: its evidence counts as seen after its finding has closed."""
    observed = overlay(scene.observed, case.evidence)
    return scene if observed is scene.observed else replace(scene, observed=observed)


def diagnose(
    scene: Scene, case: Case, elsewhere: Explained = NOTHING
) -> tuple[Ranked | None, list[Ranked]]:
    """The case's root and its rivals, best first."""
    asked = Counter[str]()
    candidates: set[Hypothesis] = set()
    for seen in case.evidence:
        asked[seen.sign] += 1
        if asked[seen.sign] <= _RIVALS_OF_SIGN:
            candidates.update(scene.hypotheses(seen.key))
    ranked = rank(scene, candidates, assumed=elsewhere)
    if case.root is None:
        return None, ranked
    first = evaluate(scene, case.root, assumed=elsewhere)
    return first, rivals_of(first, ranked)


def abstain(scene: Scene, first: Ranked | None, rivals: Sequence[Ranked]) -> Abstention:
    """Why no cause is named, or NONE."""
    if first is None:
        return Abstention.UNKNOWN_SIGNATURE
    if first.unheard > scene.settings.blind_share and not first.decisive:
        return Abstention.BLIND
    if rivals and first.log_odds - rivals[0].log_odds < scene.settings.margin_log_odds:
        return Abstention.SMALL_MARGIN
    return Abstention.NONE


def change_word(before: Incident | None, after: Incident) -> str:
    """Why a record is worth publishing; empty when it says nothing new."""
    if before is None:
        return "opened"
    if after.status is not before.status:
        return after.status.value
    if before.provisional and not after.provisional and _first(before) == _first(after):
        return "confirmed"
    if _first(before) != _first(after):
        return "cause_changed"
    if after.severity is not before.severity:
        return "severity_changed"
    if after.evidence_count >= 2 * max(before.evidence_count, EVIDENCE_MAX):
        return "evidence_added"
    if len(after.evidence) > len(before.evidence) or after.abstention is not before.abstention:
        return "evidence_added"
    return ""


def _first(incident: Incident) -> tuple[str, EntityId] | None:
    return (incident.causes[0].cause, incident.causes[0].entity) if incident.causes else None


def _affected(case: Case) -> list[EntityId]:
    """What shows the fault: nodes and engines before the GPUs in them."""
    found = case.entities - {_entity(case)}
    return sorted(found, key=lambda entity: (kind_of(entity) is EntityKind.GPU, entity))


def _entity(case: Case) -> EntityId:
    if case.root is not None:
        return case.root.entity
    strongest = max(case.evidence, key=lambda seen: (seen.hard, seen.confidence, seen.key))
    return strongest.entity


def _causes(
    scene: Scene,
    case: Case,
    first: Ranked | None,
    rivals: Sequence[Ranked],
    abstention: Abstention,
) -> tuple[Cause, ...]:
    """The root first, since the incident is about it, then the others by score; all scores are
    weighed against the same field."""
    numbers = {seen.key: f"E{index}" for index, seen in enumerate(case.evidence, start=1)}
    field = [*([] if first is None else [first]), *rivals]
    causes = []
    if first is not None:
        role = CauseRole.ROOT if abstention is Abstention.NONE else CauseRole.CANDIDATE
        causes.append(_cause(scene, first, field, role, numbers))
    for rival in rivals:
        if len(causes) == CAUSES_MAX or rival.log_odds < _WORTH_SHOWING:
            break
        role = (
            CauseRole.RULED_OUT
            if rival.against and rival.log_odds < scene.settings.open_log_odds
            else CauseRole.CANDIDATE
        )
        causes.append(_cause(scene, rival, field, role, numbers))
    return tuple(causes)


def _cause(
    scene: Scene,
    ranked: Ranked,
    rivals: Sequence[Ranked],
    role: CauseRole,
    numbers: dict[Key, str],
) -> Cause:
    fault = scene.fault(ranked.hypothesis)
    root = ranked.hypothesis.entity
    supports = [key for key in ranked.supports if key in numbers]
    visible = next((entity for entity, _ in supports if entity != root), root)
    return Cause(
        cause=fault.name,
        entity=root,
        score=round(posterior(ranked, rivals), 4),
        role=role,
        supports=tuple(numbers[key] for key in supports),
        contradicts=(
            *(numbers[key] for key in ranked.against if key in numbers),
            *(f"absent:{sign}" for _, sign in ranked.absent),
        ),
        path=tuple(scene.graph.path(root, visible, fault.spreads)),
        runbooks=fault.runbooks,
    )


def _evidence(case: Case, scene: Scene) -> tuple[Evidence, ...]:
    return tuple(_one_evidence(seen, f"E{n}", scene) for n, seen in enumerate(case.evidence, 1))


def _one_evidence(seen: Observation, number: str, scene: Scene) -> Evidence:
    return Evidence(
        id=number,
        finding=seen.finding,
        entity=seen.entity,
        symptom=seen.symptom.name,
        direction=seen.symptom.direction,
        witness=seen.witness,
        onset_s=seen.onset_s,
        score=seen.symptom.score,
        observed=seen.symptom.observed,
        expected_low=seen.symptom.expected_low,
        expected_high=seen.symptom.expected_high,
        unit=seen.symptom.unit,
        detail=evidence_words(seen, scene.knowledge),
    )
