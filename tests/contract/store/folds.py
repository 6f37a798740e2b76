"""The part of the contract on: snapshots and positions; charts, notes and labels."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from fleetmend.errors import BadInput
from fleetmend.ports.snapshots import Snapshot
from fleetmend.store import (
    LabelVerdict,
    Points,
    Store,
    StoreSnapshots,
)
from tests.contract.store.samples import GPU, incident


def points(times: Sequence[float], values: Sequence[float]) -> Points:
    """As a chart takes them."""
    return np.array(times, np.float64), np.array(values, np.float64)


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

    def test_charts_are_extended_and_never_cut_back(self, store: Store) -> None:
        with store.transaction() as tx:
            tx.incidents.put(incident())
            tx.series.extend("i-1", GPU, "gpu.power", points([1, 2, 3], [4, math.nan, 6]), "W")
            tx.series.extend("i-1", GPU, "gpu.power", points([2, 3, 4], [9, 9, 8]), "W")
        with store.transaction() as tx:
            tx.series.extend("i-1", GPU, "gpu.power", points([], []), "W")
            (power,) = tx.series.for_incident("i-1")

        assert (power.signal, power.unit) == ("gpu.power", "W")
        assert (power.times_s, power.values) == ((1.0, 3.0, 4.0), (4.0, 6.0, 8.0))

    def test_charts_are_bounded_in_points_and_number(self, store: Store) -> None:
        times = [float(number) for number in range(30)]
        spike = [float(number == 7) for number in range(30)]
        with store.transaction() as tx:
            tx.incidents.put(incident())
            assert tx.series.extend("i-1", GPU, "gpu.power", points(times, spike), "W")
            assert tx.series.extend("i-1", GPU, "gpu.temp", points(times, times), "C")
            assert not tx.series.extend("i-1", GPU, "gpu.clock", points(times, times), "MHz")
            assert tx.series.extend("i-1", GPU, "gpu.temp", points([30.0], [30.0]), "C")
            power, temperature = tx.series.for_incident("i-1")

        assert len(power.times_s) <= 20  # the suite's `series_points_max`
        assert (7.0, 1.0) in zip(power.times_s, power.values, strict=True)
        assert (temperature.times_s[0], temperature.times_s[-1]) == (0.0, 30.0)

    def test_a_chart_with_more_times_than_values_is_bad_input(self, store: Store) -> None:
        with pytest.raises(BadInput), store.transaction() as tx:
            tx.series.extend("i-1", GPU, "gpu.power", points([1.0, 2.0], [1.0]), "W")

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
