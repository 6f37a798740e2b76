"""Incidents as a reader of the log saw them: the causes that stood 5 s after opening count.

Called by `fleetmend replay` (one line per incident) and `fleetmend evaluate` (openings).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from fleetmend.model.entities import EntityId
from fleetmend.model.incidents import (
    Abstention,
    Cause,
    CauseRole,
    Evidence,
    Incident,
    IncidentStatus,
    Severity,
)
from fleetmend.scoring.records import Opening

SETTLE_S = 5.0
"""Cause and entity count as published within this many seconds."""

Printed = Callable[[EntityId], str]
"""How an entity is printed: `gpu:0`, `engine-0`, `node-0`."""


@dataclass(frozen=True, slots=True)
class PublishedCause:
    """One cause as printed."""

    cause: str
    entity: str
    score: float


@dataclass(frozen=True, slots=True)
class PublishedUpdate:
    """A later version: shown beside, and an opening of its own when it blames something new."""

    at_s: float
    change: str
    severity: Severity
    causes: tuple[PublishedCause, ...]
    opens: bool
    """True when it puts a (cause, entity) first that this incident never had first before."""


@dataclass(frozen=True, slots=True)
class PublishedIncident:
    """One incident over its whole life."""

    id: str
    opened_at_s: float
    resolved_at_s: float | None
    severity: Severity
    entity: str
    title: str
    abstention: Abstention
    causes: tuple[PublishedCause, ...]
    """As published within 5 s of opening."""
    evidence: tuple[Evidence, ...]
    updates: tuple[PublishedUpdate, ...]


def publish(records: Iterable[Incident], *, printed: Printed) -> tuple[PublishedIncident, ...]:
    """The published view of every incident, in order of opening.

    `records` are all versions of all incidents in any order; a version that comes twice counts
    once.
    """
    versions: dict[str, dict[int, Incident]] = {}
    for record in records:
        versions.setdefault(record.id, {})[record.version] = record
    published = [
        _publish_one([held[version] for version in sorted(held)], printed)
        for held in versions.values()
    ]
    return tuple(sorted(published, key=lambda incident: (incident.opened_at_s, incident.id)))


def openings(incidents: Iterable[PublishedIncident]) -> tuple[Opening, ...]:
    """Each incident's opening, and each update that puts a new (cause, entity) first."""
    found = []
    for incident in incidents:
        found.append(
            Opening(
                incident.opened_at_s,
                incident.id,
                tuple((cause.cause, cause.entity) for cause in incident.causes),
                incident.entity,
            )
        )
        found.extend(
            Opening(
                update.at_s,
                f"{incident.id}+{number}",
                tuple((cause.cause, cause.entity) for cause in update.causes),
                update.causes[0].entity,
            )
            for number, update in enumerate(incident.updates, start=1)
            if update.opens
        )
    return tuple(sorted(found, key=lambda opening: (opening.at_s, opening.id)))


def _publish_one(versions: Sequence[Incident], printed: Printed) -> PublishedIncident:
    opened_at_s = versions[0].opened_at_s
    settled = settled_version(versions, opened_at_s)
    later = [version for version in versions if version.version > settled.version]
    resolved = [v.resolved_at_s for v in versions if v.status is IncidentStatus.RESOLVED]
    return PublishedIncident(
        id=settled.id,
        opened_at_s=opened_at_s,
        resolved_at_s=resolved[-1] if resolved else None,
        severity=settled.severity,
        entity=printed(settled.entity),
        title=settled.title,
        abstention=settled.abstention,
        causes=_causes(settled.causes, printed),
        evidence=settled.evidence,
        updates=_updates(settled, later, printed),
    )


def _updates(
    settled: Incident, later: Sequence[Incident], printed: Printed
) -> tuple[PublishedUpdate, ...]:
    firsts = {_first(settled)}
    updates = []
    for index, version in enumerate(later):
        first = _first(version)
        opens = first is not None and first not in firsts
        # An update that opens gets the same 5 s to settle as an incident does.
        shown = settled_version(later[index:], version.updated_at_s) if opens else version
        if opens:
            firsts |= {first, _first(shown)}
        updates.append(
            PublishedUpdate(
                at_s=version.updated_at_s,
                change=version.change,
                severity=version.severity,
                causes=_causes(shown.causes, printed),
                opens=opens,
            )
        )
    return tuple(updates)


def settled_version(versions: Sequence[Incident], opened_at_s: float) -> Incident:
    """The last of an incident's versions, oldest first, that was published within `SETTLE_S` of
    its opening: what counts as said. `fleetmend replay` rehearses the plan of the same one."""
    within = [v for v in versions if v.updated_at_s <= opened_at_s + SETTLE_S]
    return within[-1] if within else versions[0]


def _first(incident: Incident) -> tuple[str, EntityId] | None:
    named = [cause for cause in incident.causes if cause.role is not CauseRole.RULED_OUT]
    return (named[0].cause, named[0].entity) if named else None


def _causes(causes: Iterable[Cause], printed: Printed) -> tuple[PublishedCause, ...]:
    return tuple(
        PublishedCause(cause.cause, printed(cause.entity), cause.score)
        for cause in causes
        if cause.role is not CauseRole.RULED_OUT
    )
