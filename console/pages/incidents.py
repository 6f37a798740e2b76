"""The list of incidents, with its facets in the address."""

from dataclasses import dataclass
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, RedirectResponse

from console.context import Console
from console.present.needs import by_incident
from console.queries import Facet, incident_rows, incidents_page
from fleetmend.model.incidents import Severity

_FACETS = {
    Facet.ACTIVE: "Active",
    Facet.RESOLVED: "Resolved",
    Facet.MERGED: "Merged",
    Facet.ALL: "All",
}
_EMPTY = {
    Facet.ACTIVE: ("No incident is open.", "New ones appear here by themselves."),
    Facet.ALL: ("No incident yet.", "The detectors have found nothing since the store was made."),
}


@dataclass(frozen=True, slots=True)
class FacetLink:
    """One choice of a facet."""

    text: str
    href: str
    on: bool
    count: int | None = None


def routes(console: Console) -> APIRouter:
    """`/`, `/incidents`."""
    router = APIRouter()
    size = console.deps.settings.page_size

    @router.get("/", include_in_schema=False)
    def home() -> RedirectResponse:
        return RedirectResponse("/fleet" if console.deps.simulated else "/incidents", 303)

    @router.get("/incidents", include_in_schema=False)
    def incidents(
        request: Request,
        status: Facet = Facet.ACTIVE,
        severity: Severity | None = None,
        after: str | None = None,
    ) -> HTMLResponse:
        decisions = console.deps.decisions
        needs = {need.incident.id for need in decisions.needs_person()}
        backs = by_incident(decisions.coming_back())
        with console.deps.store.reading() as tx:
            page = incidents_page(tx, facet=status, severity=severity, after=after, limit=size)
            rows = incident_rows(tx, page.incidents, needs=needs, backs=backs)
            open_count = tx.incidents.open_count()
        empty = _EMPTY.get(status, (f"No incident is {status.value}.", "Try another status."))
        if severity is not None:
            empty = (empty[0], f"Only {severity.value} is shown; try all severities.")
        return console.pages.page(
            request,
            "incidents.html",
            rows=rows,
            after=after or "",
            here=_href(status, severity),
            status_facets=[
                FacetLink(
                    text,
                    _href(facet, severity),
                    facet is status,
                    open_count if facet is Facet.ACTIVE else None,
                )
                for facet, text in _FACETS.items()
            ],
            severity_facets=[
                FacetLink("All", _href(status, None), severity is None),
                *(FacetLink(s.value, _href(status, s), s is severity) for s in Severity),
            ],
            next_href=_href(status, severity, page.next) if page.next else "",
            first_href=_href(status, severity),
            quiet=status is Facet.ACTIVE and severity is None,
            empty=empty,
        )

    return router


def _href(status: Facet, severity: Severity | None, after: str = "") -> str:
    query = {}
    if status is not Facet.ACTIVE:
        query["status"] = status.value
    if severity is not None:
        query["severity"] = severity.value
    if after:
        query["after"] = after
    return "/incidents" + (f"?{urlencode(query)}" if query else "")
