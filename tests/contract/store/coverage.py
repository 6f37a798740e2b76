"""The part of the contract on: the coverage ledger."""

from dataclasses import replace

import pytest

from fleetmend.model.coverage import LEDGER, Coverage, Freshness
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.store import CoverageFilter, Store

NODE = entity_id("demo", EntityKind.NODE, "node-1")


def entry(number: int, state: Freshness = Freshness.FRESH, **changed: object) -> Coverage:
    """An entry about one GPU; odd ones are in another pool."""
    whole = Coverage(
        entity=entity_id("demo", EntityKind.GPU, f"GPU-{number:02d}"),
        at_s=100.0,
        state=state,
        since_s=90.0,
        heard_s=99.0,
        every_s=1.0,
        signals={Freshness.FRESH: ("gpu.power",), Freshness.ABSENT: ("gpu.sm_clock",)},
        node=NODE if number < 3 else "",
        pool="batch" if number % 2 else "chat",
    )
    return replace(whole, **changed)  # type: ignore[arg-type]


class CoverageContract:
    """What is kept of the ledger."""

    def test_the_newest_entry_of_each_entity_is_kept_and_an_older_one_changes_nothing(
        self, store: Store
    ) -> None:
        late = entry(1, Freshness.LATE, at_s=110.0)
        with store.transaction() as tx:
            tx.coverage.put([entry(1), entry(2), late])
            tx.coverage.put([entry(1, at_s=105.0)])
        with store.reading() as tx:
            assert tx.coverage.page() == [late, entry(2)]

    def test_what_is_gone_is_dropped_unless_it_has_come_back_since(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.coverage.put([entry(1), entry(2, at_s=200.0)])
            tx.coverage.put([entry(n, at_s=150.0, gone=True) for n in (1, 2, 3)])
        with store.reading() as tx:
            assert tx.coverage.page() == [entry(2, at_s=200.0)]

    def test_the_ledger_says_how_far_it_has_come_and_is_no_entity(self, store: Store) -> None:
        with store.reading() as tx:
            assert tx.coverage.reached_s() is None
        with store.transaction() as tx:
            tx.coverage.put([entry(1), Coverage(LEDGER, 123.0, Freshness.FRESH, 0.0)])
        with store.reading() as tx:
            assert tx.coverage.reached_s() == 123.0
            assert tx.coverage.page() == [entry(1)]
            assert tx.coverage.counts() == {EntityKind.GPU: {Freshness.FRESH: 1}}

    @pytest.mark.parametrize(
        ("wanted", "numbers"),
        [
            (CoverageFilter(), [0, 1, 2, 3, 4, 5]),
            (CoverageFilter(entity="GPU-04"), [4]),
            (CoverageFilter(entity="demo/gpu/GPU-04"), [4]),
            (CoverageFilter(entity=NODE), [0, 1, 2]),
            (CoverageFilter(state=Freshness.FROZEN), [2]),
            (CoverageFilter(kind=EntityKind.GPU), [0, 1, 2, 3, 4, 5]),
            (CoverageFilter(kind=EntityKind.NODE), []),
            (CoverageFilter(pool="batch"), [1, 3, 5]),
            (CoverageFilter(pool="batch", state=Freshness.FROZEN), []),
            (CoverageFilter(entity="GPU-%"), []),
        ],
    )
    def test_filters_narrow_and_pages_meet_each_entry_once(
        self, store: Store, wanted: CoverageFilter, numbers: list[int]
    ) -> None:
        states = {2: Freshness.FROZEN}
        all_ = [entry(n, states.get(n, Freshness.FRESH)) for n in range(6)]
        with store.transaction() as tx:
            tx.coverage.put(all_)
        met: list[Coverage] = []
        with store.reading() as tx:
            while page := tx.coverage.page(
                wanted, after=met[-1].entity if met else EntityId(""), limit=2
            ):
                assert len(page) <= 2
                met += page
        assert met == [all_[n] for n in numbers]
