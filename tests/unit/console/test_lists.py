"""Pages of lists: every incident once, newest first, whatever the facet and the page size."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from console.pages.audit import audit_page
from console.queries import Facet, incidents_page
from fleetmend.clock import ManualClock
from fleetmend.model.audit import AuditVerb
from fleetmend.model.incidents import Incident, IncidentStatus, Severity
from fleetmend.store import Store
from tests.unit.console.builder import NOW_S, incident, open_store
from tests.unit.console.client import Bench

STATUSES = list(IncidentStatus)


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """60 incidents in all states, many opened at the same moment."""
    store = open_store(tmp_path_factory.mktemp("many"), ManualClock(NOW_S))
    with store.transaction() as tx:
        for i in range(60):
            tx.incidents.put(
                incident(
                    f"inc-{i:02d}",
                    opened_at_s=NOW_S - (i * 7 % 11),
                    status=STATUSES[i % 4],
                    severity=list(Severity)[i % 3],
                )
            )
    return store


@settings(max_examples=30, deadline=None)
@given(
    facet=st.sampled_from(Facet),
    severity=st.sampled_from([None, *Severity]),
    limit=st.integers(1, 61),
)
def test_walking_the_pages_meets_every_incident_once(
    many: Store, facet: Facet, severity: Severity | None, limit: int
) -> None:
    with many.reading() as tx:
        met: list[Incident] = []
        after = None
        while True:
            page = incidents_page(tx, facet=facet, severity=severity, after=after, limit=limit)
            met += page.incidents
            assert len(page.incidents) <= limit
            if not page.next:
                break
            after = page.next
        whole = tx.incidents.page(limit=500)
    wanted = [
        i
        for i in whole
        if (severity is None or i.severity is severity)
        and (
            facet is Facet.ALL
            or i.status.value == facet.value
            or (facet is Facet.ACTIVE and i.status.value in ("open", "mitigated"))
        )
    ]
    assert [i.id for i in met] == [i.id for i in wanted]


def test_the_page_links_to_the_next_and_back(many: Store, tmp_path: Path, filled: Bench) -> None:
    client = filled.client
    first = client.get("/api/v1/incidents", params={"status": "all", "limit": 2}).json()
    assert len(first["items"]) == 2
    second = client.get(
        "/api/v1/incidents", params={"status": "all", "limit": 2, "after": first["next"]}
    ).json()
    assert {i["id"] for i in first["items"]}.isdisjoint(i["id"] for i in second["items"])
    page = client.get("/incidents", params={"status": "all", "after": first["next"]}).text
    assert "Newest" in page
    assert 'id="list"' in page
    assert "data-live" not in page.split('id="list"')[1].split(">")[0]


@settings(max_examples=20, deadline=None)
@given(limit=st.integers(1, 12))
def test_walking_the_audit_log_back_meets_every_record_once(audited: Store, limit: int) -> None:
    with audited.reading() as tx:
        met, before = [], 0
        while True:
            page = audit_page(tx, about="", before=before, limit=limit)
            met += [record.seq for record in page.records]
            if not page.older:
                break
            before = page.older
    assert met == list(range(10, 0, -1))


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Ten records."""
    store = open_store(tmp_path_factory.mktemp("audited"), ManualClock(NOW_S))
    with store.transaction() as tx:
        for i in range(10):
            tx.audit.append(
                at_s=NOW_S + i, actor="a", verb=AuditVerb.NOTE, subject="s", detail={"text": str(i)}
            )
    return store


def test_the_export_is_the_whole_chain_in_order(filled: Bench) -> None:
    lines = filled.client.get("/audit.jsonl").text.splitlines()
    with filled.store.reading() as tx:
        assert len(lines) == tx.audit.head()
    assert '"seq": 1' in lines[0]
    assert all('"hash"' in line and '"prev_hash"' in line for line in lines)
