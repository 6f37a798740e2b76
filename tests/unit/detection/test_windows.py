"""Samples become dense values per tick: means, rates across restarts, states, history, rows."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from detection.windows import Windows
from fleetmend.model.entities import EntityId, EntityKind, entity_id
from fleetmend.model.samples import SampleBatch
from fleetmend.signals.records import Shape

GPU = entity_id("c", EntityKind.GPU, "a")
OTHER = entity_id("c", EntityKind.GPU, "b")
SHAPES = {"gpu.power": Shape.GAUGE, "gpu.energy": Shape.COUNTER, "gpu.mask": Shape.STATE}


def windows(ticks: int = 8) -> Windows:
    return Windows(SHAPES, ticks=ticks)


def tick(w: Windows, number: int, rows: list[tuple[float, str, str, float]]) -> None:
    w.advance(number, [])
    w.take([SampleBatch.from_rows(rows)], number)
    w.keep()


def test_a_gauge_is_the_mean_of_its_samples_and_a_state_the_last() -> None:
    w = windows()
    tick(w, 0, [(0.1, GPU, "gpu.power", 10), (0.9, GPU, "gpu.power", 30)])
    tick(w, 1, [(1.9, GPU, "gpu.mask", 4), (1.1, GPU, "gpu.mask", 1)])
    block = w.block(EntityKind.GPU)

    assert np.isnan(block.now("gpu.power")).all()
    assert block.known("gpu.power").tolist() == [20.0]
    assert block.now("gpu.mask").tolist() == [4.0]
    assert block.age("gpu.power").tolist() == [1]


def test_a_counter_is_its_growth_per_second_since_its_last_sample() -> None:
    w = windows()
    tick(w, 0, [(0.5, GPU, "gpu.energy", 100.0)])
    assert np.isnan(w.block(EntityKind.GPU).now("gpu.energy")).all()
    tick(w, 1, [])
    tick(w, 2, [(2.5, GPU, "gpu.energy", 160.0)])

    assert w.block(EntityKind.GPU).now("gpu.energy").tolist() == [30.0]
    assert w.block(EntityKind.GPU).cells["grown"].tolist() == [[60.0]]


def test_a_counter_that_falls_has_restarted_and_never_gives_a_negative_rate() -> None:
    w = windows()
    tick(w, 0, [(0.5, GPU, "gpu.energy", 1000.0)])
    tick(w, 1, [(1.5, GPU, "gpu.energy", 7.0)])

    assert w.block(EntityKind.GPU).now("gpu.energy").tolist() == [7.0]


@given(st.lists(st.lists(st.integers(0, 50), max_size=4), min_size=1, max_size=12))
@settings(max_examples=60, deadline=None)
def test_growth_over_ticks_adds_up_to_what_the_counter_counted(steps: list[list[int]]) -> None:
    w = windows()
    total, told, first = 0.0, 0.0, True
    at_first = 0.0
    for number, grown in enumerate(steps):
        rows = []
        for place, step in enumerate(grown):
            total += step
            rows.append((number + (place + 1) / 8, str(GPU), "gpu.energy", total))
            if first:
                at_first, first = total, False
        tick(w, number, rows)
        if rows:
            told += float(np.nan_to_num(w.block(EntityKind.GPU).cells["grown"][0, 0]))

    assert told == (0.0 if first else total - at_first)


def test_what_is_not_finite_or_not_in_the_catalogue_leaves_no_trace() -> None:
    w = windows()
    rows = [
        (0.5, str(GPU), "gpu.power", float("inf")),
        (0.5, str(GPU), "gpu.power", float("nan")),
        (0.5, str(GPU), "gpu.no_such_signal", 1.0),
        (0.5, "not an entity", "gpu.power", 1.0),
    ]
    tick(w, 0, rows)

    assert w.block(EntityKind.GPU).row == {}


def test_history_is_oldest_first_and_blank_where_ticks_were_jumped_over() -> None:
    w = windows(ticks=5)
    for number in (0, 1, 4):
        tick(w, number, [(number + 0.5, str(GPU), "gpu.power", float(number))])

    recent = w.block(EntityKind.GPU).recent("gpu.power", 5)[:, 0]
    assert np.array_equal(recent, [0, 1, np.nan, np.nan, 4], equal_nan=True)


def test_an_entity_that_comes_late_gets_a_row_without_a_past() -> None:
    w = windows()
    tick(w, 0, [(0.5, str(GPU), "gpu.power", 1.0)])
    tick(w, 1, [(1.5, str(GPU), "gpu.power", 2.0), (1.5, str(OTHER), "gpu.mask", 3.0)])
    block = w.block(EntityKind.GPU)

    assert block.entities == [GPU, OTHER]
    assert np.array_equal(block.recent("gpu.power", 2), [[1, np.nan], [2, np.nan]], equal_nan=True)


def test_the_row_of_an_entity_that_has_gone_is_used_again_without_its_past() -> None:
    w = windows()
    tick(w, 0, [(0.5, str(GPU), "gpu.power", 1.0)])
    w.advance(1, [GPU])
    w.take([SampleBatch.from_rows([(1.5, str(OTHER), "gpu.power", 5.0)])], 1)
    w.keep()
    w.advance(2, [])
    w.take([SampleBatch.from_rows([(2.5, "c/gpu/new", "gpu.power", 6.0)])], 2)
    w.keep()
    block = w.block(EntityKind.GPU)

    assert block.row == {OTHER: 1, EntityId("c/gpu/new"): 0}
    assert np.array_equal(block.recent("gpu.power", 3)[:, 0], [np.nan, np.nan, 6], equal_nan=True)


def test_a_second_copy_of_a_batch_changes_nothing() -> None:
    once, twice = windows(), windows()
    for number in range(3):
        rows = [(number + 0.5, str(GPU), s, 10.0 * number) for s in ("gpu.power", "gpu.energy")]
        batch = SampleBatch.from_rows(rows)
        for w, copies in ((once, 1), (twice, 2)):
            w.advance(number, [])
            w.take([batch] * copies, number)
            w.keep()

    for signal in ("gpu.power", "gpu.energy"):
        a, b = (w.block(EntityKind.GPU).recent(signal, 3) for w in (once, twice))
        assert np.array_equal(a, b, equal_nan=True)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31 - 1), entities=st.integers(1, 6))
def test_cells_with_one_sample_are_filled_alike_on_both_ways(seed: int, entities: int) -> None:
    """A cell that is heard twice sends its whole block the long way: what is beside it must not
    notice, in three ticks with falls, gaps, restarts and repeated times."""
    rng = np.random.default_rng(seed)
    signals = ("gpu.power", "gpu.energy", "gpu.mask")
    once, twice = windows(), windows()
    for number in range(3):
        rows = [
            (
                number + float(rng.choice([0.0, 0.5])),
                f"c/gpu/G{entity}",
                signal,
                float(rng.choice([0.0, 3.0, 7.5])),
            )
            for entity in range(entities)
            for signal in signals
            if rng.random() < 0.8
        ]
        again = [(number + 0.1 * n, str(GPU), "gpu.power", 50.0) for n in range(2)]
        tick(once, number, [*again[:1], *rows])
        tick(twice, number, [*again, *rows])
    one, other = (w.block(EntityKind.GPU) for w in (once, twice))
    assert (one.entities, one.signals) == (other.entities, other.signals)
    beside = [row for entity, row in one.row.items() if entity != GPU]
    for name in one.cells:
        assert np.array_equal(one.cells[name][beside], other.cells[name][beside], equal_nan=True)
