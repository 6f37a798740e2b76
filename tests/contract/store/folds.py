"""The part of the contract on: snapshots and positions; charts, notes and labels."""

import pytest

from fleetmend.errors import BadInput
from fleetmend.ports.snapshots import Snapshot
from fleetmend.store import (
    LabelVerdict,
    Store,
    StoreSnapshots,
)
from tests.contract.store.samples import GPU, incident


class FoldContract:
    """Snapshots and positions, charts, notes and labels."""

    def test_the_newest_three_snapshots_of_each_fold_are_kept(self, store: Store) -> None:
        snapshots = StoreSnapshots(store)
        assert snapshots.latest("rca") is None
        for tick in (1, 2, 4, 3):
            snapshots.save(Snapshot("rca", tick, bytes([tick])))
        snapshots.save(Snapshot("rca", 4, b"again"))
        snapshots.save(Snapshot("detection", 9, b"other"))

        assert snapshots.latest("rca") == Snapshot("rca", 4, b"again")
        assert snapshots.latest("detection") == Snapshot("detection", 9, b"other")
        with store.transaction() as tx:
            assert tx.snapshots.ticks("rca") == [4, 3, 2]

    def test_positions_are_replaced_whole(self, store: Store) -> None:
        with store.transaction() as tx:
            assert tx.positions.get("intake") == {}
            tx.positions.set("intake", {"incidents/0": 2**40, "topology/0": 1})
            tx.positions.set("intake", {"incidents/0": 2**40 + 1})

            assert tx.positions.get("intake") == {"incidents/0": 2**40 + 1}

    def test_charts_are_replaced_and_bounded(self, store: Store) -> None:
        times = [float(number) for number in range(30)]
        with store.transaction() as tx:
            tx.incidents.put(incident())
            assert tx.series.put("i-1", GPU, "gpu.power", times, times, "W")
            assert tx.series.put("i-1", GPU, "gpu.power", [1, 2, 3], [4, float("nan"), 6], "W")
            assert tx.series.put("i-1", GPU, "gpu.temp", times, times, "C")
            assert not tx.series.put("i-1", GPU, "gpu.sm_clock", times, times, "MHz")
            power, temperature = tx.series.for_incident("i-1")

        assert (power.signal, power.unit) == ("gpu.power", "W")
        assert (power.times_s, power.values) == ((1.0, 3.0), (4.0, 6.0))
        assert temperature.times_s == tuple(times[-20:])  # the suite's `series_points_max`

    def test_a_chart_with_more_times_than_values_is_bad_input(self, store: Store) -> None:
        with pytest.raises(BadInput), store.transaction() as tx:
            tx.series.put("i-1", GPU, "gpu.power", [1.0, 2.0], [1.0], "W")

    def test_notes_and_labels_stay_with_their_incident(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident())
            first = tx.notes.add("i-1", "ada", 1.0, "looks like the riser")
            second = tx.notes.add("i-1", "bob", 0.5, "<b>\x00</b>")
            tx.labels.put("i-1", "gpu_lost", GPU, LabelVerdict.REJECT, "ada", 1.0)
            label = tx.labels.put("i-1", "gpu_lost", GPU, LabelVerdict.CONFIRM, "ada", 2.0)

            assert tx.notes.for_incident("i-1") == [first, second]
            assert second.text == "<b>\ufffd</b>"
            assert tx.labels.for_incident("i-1") == [label]
            assert tx.notes.for_incident("i-2") == []
