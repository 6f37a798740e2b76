"""The express lane: an incident from one provisional finding, before its tick has closed.

Called by `rca.stage.arrive`, and again by its fold, which must find the same incident. Only signs
that are decisive alone lead to one, so that the tick has little reason to think otherwise.
"""

from dataclasses import replace

from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.settings.rca import SeveritySettings
from fleetmend.views.topology import TopologyView
from rca.case import Case, incident_id
from rca.evidence import SignIndex, merge
from rca.infer import rank
from rca.record import to_record
from rca.scene import Scene


def announce(
    finding: Finding,
    scene: Scene,
    *,
    signs: SignIndex,
    topology: TopologyView,
    severity: SeveritySettings,
) -> Incident | None:
    """Version 1 of the incident that this finding alone opens, or None."""
    alone = replace(scene, observed=merge(signs.observations(finding)), now_s=finding.at_s)
    candidates = {h for key in alone.observed for h in alone.hypotheses(key)}
    ranked = rank(alone, candidates)
    if not ranked or not ranked[0].decisive:
        return None
    if ranked[0].log_odds < scene.settings.open_log_odds:
        return None
    case = Case(
        id=incident_id(finding.entity, finding.tick),
        root=ranked[0].hypothesis,
        opened_at_s=finding.at_s,
        onset_s=ranked[0].onset_s,
        evidence=[alone.observed[key] for key in ranked[0].supports],
        provisional=True,
        version=1,
    )
    return to_record(case, alone, at_s=finding.at_s, topology=topology, severity=severity)
