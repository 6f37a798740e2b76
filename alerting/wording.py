"""The words and figures that every format shares, cut to what receivers take. Pure.

Titles and details come from telemetry: they are cut and never interpreted here; each format
escapes them in its own way.
"""

import json
import math
from datetime import UTC, datetime
from typing import Any

from fleetmend.model.incidents import Evidence, Incident
from fleetmend.model.notifications import Notification, NotifyReason

TITLE_CHARS_MAX = 300
DETAIL_CHARS_MAX = 400
EVIDENCE_MAX = 20
AFFECTED_MAX = 50

_LAST_MOMENT_S = 253_402_300_799.0  # the year 9999 ends: later times have no RFC 3339 form

_LEADS = {
    NotifyReason.SEVERITY_RAISED: "raised: ",
    NotifyReason.CAUSE_CHANGED: "cause: ",
    NotifyReason.APPROVAL_NEEDED: "decision needed: ",
    NotifyReason.RESOLVED: "resolved: ",
}


def rfc3339(at_s: float) -> str:
    """A moment in UTC with milliseconds, `2026-11-23T04:03:02.500Z`. Times that no calendar has are
    put to its ends."""
    moment_s = 0.0 if math.isnan(at_s) else min(max(at_s, 0.0), _LAST_MOMENT_S)
    stamp = datetime.fromtimestamp(moment_s, UTC).isoformat(timespec="milliseconds")
    return stamp.replace("+00:00", "Z")


def headline(notification: Notification) -> str:
    """One line for a person: `[P1] raised: GPU fell off the bus (node-003/gpu:5, pool chat)`."""
    incident = notification.incident
    title = " ".join((notification.title or incident.title)[:TITLE_CHARS_MAX].split())
    place = " ".join((notification.place or incident.entity).split())
    return f"[{incident.severity}] {_LEADS.get(notification.reason, '')}{title} ({place})"


def brief(incident: Incident) -> dict[str, Any]:
    """What a receiver may want to know beyond the headline, bounded; JSON values."""
    return {
        "id": incident.id,
        "version": incident.version,
        "status": incident.status.value,
        "severity": incident.severity.value,
        "severity_reason": incident.severity_reason,
        "title": incident.title[:TITLE_CHARS_MAX],
        "entity": incident.entity,
        "opened_at": rfc3339(incident.opened_at_s),
        "updated_at": rfc3339(incident.updated_at_s),
        "resolved_at": None if incident.resolved_at_s is None else rfc3339(incident.resolved_at_s),
        "merged_into": incident.merged_into,
        "causes": [
            {"cause": cause.cause, "entity": cause.entity, "role": cause.role.value}
            for cause in incident.causes[:3]
        ],
        "abstention": incident.abstention.value,
        "next_check": incident.next_check[:DETAIL_CHARS_MAX],
        "evidence": [_evidence(piece) for piece in incident.evidence[:EVIDENCE_MAX]],
        "evidence_count": len(incident.evidence),
        "affected": list(incident.affected[:AFFECTED_MAX]),
        "affected_count": len(incident.affected),
    }


def as_json(value: Any) -> bytes:
    """Compact JSON in ASCII, keys in the order given: the same value is always the same bytes."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode()


def _evidence(piece: Evidence) -> dict[str, str]:
    return {
        "id": piece.id,
        "entity": piece.entity,
        "symptom": piece.symptom,
        "direction": piece.direction.value,
        "witness": piece.witness.value,
        "onset": rfc3339(piece.onset_s),
        "detail": piece.detail[:DETAIL_CHARS_MAX],
    }
