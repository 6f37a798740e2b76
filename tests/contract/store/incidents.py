"""The part of the contract on: incidents and plans."""

from dataclasses import replace

import pytest

from fleetmend.errors import BadInput, StoreConflict, StoreError
from fleetmend.model.incidents import IncidentStatus, Severity
from fleetmend.store import (
    Store,
)
from tests.contract.store.samples import incident, plan, with_plan


class IncidentContract:
    """Incidents and plans."""

    def test_an_incident_comes_back_as_it_was(self, store: Store) -> None:
        with store.transaction() as tx:
            assert tx.incidents.put(incident())

        with store.reading() as tx:
            assert tx.incidents.get("i-1") == incident()
            assert tx.incidents.get("i-2") is None

    @pytest.mark.parametrize("stale", [1, 2])
    def test_a_version_that_is_not_newer_changes_nothing(self, store: Store, stale: int) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident(version=2))

        with store.transaction() as tx:
            assert not tx.incidents.put(replace(incident(version=stale), title="stale"))
            assert tx.incidents.history("i-1") == [incident(version=2)]
            assert tx.incidents.get("i-1") == incident(version=2)

    def test_history_keeps_every_version_in_order(self, store: Store) -> None:
        resolved = replace(incident(version=3), status=IncidentStatus.RESOLVED)
        with store.transaction() as tx:
            for version in (incident(), incident(version=2), resolved):
                tx.incidents.put(version)

        with store.reading() as tx:
            assert tx.incidents.history("i-1") == [incident(), incident(version=2), resolved]
            assert tx.incidents.open_count() == 0

    def test_pages_follow_each_other_without_gap_or_repeat(self, store: Store) -> None:
        with store.transaction() as tx:
            for number in range(7):  # two each at the same moment
                tx.incidents.put(incident(f"i-{number}", opened_at_s=100.0 + number // 2))

        seen: list[str] = []
        with store.reading() as tx:
            page = tx.incidents.page(limit=3)
            while page and len(seen) < 20:
                seen += [found.id for found in page]
                page = tx.incidents.page(after=page[-1].id, limit=3)

        assert seen == ["i-6", "i-5", "i-4", "i-3", "i-2", "i-1", "i-0"]

    def test_pages_are_filtered_by_status_and_severity(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident("i-1"))
            tx.incidents.put(replace(incident("i-2"), severity=Severity.P0))
            tx.incidents.put(replace(incident("i-3"), status=IncidentStatus.RESOLVED))

        with store.reading() as tx:
            p0 = tx.incidents.page(severity=Severity.P0)
            over = tx.incidents.page(status=IncidentStatus.RESOLVED)
            assert [found.id for found in p0] == ["i-2"]
            assert [found.id for found in over] == ["i-3"]

    def test_a_page_after_an_unknown_incident_is_bad_input(self, store: Store) -> None:
        with pytest.raises(BadInput), store.reading() as tx:
            tx.incidents.page(after="i-\x00")

    def test_hostile_text_is_kept_without_what_no_reader_takes(self, store: Store) -> None:
        hostile = "<script>\x00\ud800 \u202e' OR 1=1 -- \\u0000"
        with store.transaction() as tx:
            tx.incidents.put(replace(incident(), title=hostile))

        with store.reading() as tx:
            found = tx.incidents.get("i-1")
            assert found is not None
            assert found.title == "<script>\ufffd\ufffd \u202e' OR 1=1 -- \\u0000"

    def test_figures_that_json_lacks_come_back(self, store: Store) -> None:
        odd = tuple(
            replace(incident().evidence[0], observed=value)
            for value in (float("inf"), -0.0, 5e-324)
        )
        with store.transaction() as tx:
            tx.incidents.put(replace(incident(), evidence=odd))

        with store.reading() as tx:
            found = tx.incidents.get("i-1")
            assert found is not None
            assert found.evidence == odd

    def test_a_plan_comes_back_and_the_newest_version_is_the_plan(self, store: Store) -> None:
        with store.transaction() as tx:
            with_plan(tx)
            assert tx.plans.put(plan(version=2))
            assert not tx.plans.put(plan(version=2))

            assert tx.plans.get("p-1") == plan(version=2)
            assert tx.plans.get("p-1", 1) == plan()
            assert tx.plans.for_incident("i-1") == [plan(), plan(version=2)]

    def test_a_version_of_a_plan_never_changes(self, store: Store) -> None:
        with store.transaction() as tx:
            with_plan(tx)

        with pytest.raises(StoreConflict), store.transaction() as tx:
            tx.plans.put(replace(plan(), pool="pool-b"))

    def test_a_plan_needs_its_incident(self, store: Store) -> None:
        with pytest.raises(StoreError), store.transaction() as tx:
            tx.plans.put(plan(of="i-none"))
