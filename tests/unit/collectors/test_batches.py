"""Putting batches together says what the batches said, whatever was joined before."""

from hypothesis import given, settings
from hypothesis import strategies as st

from collectors.batches import Joiner
from fleetmend.model.samples import SampleBatch

ROWS = st.lists(
    st.tuples(st.just(1.0), st.sampled_from("abc"), st.sampled_from("xyz"), st.floats(0, 9)),
    max_size=4,
)


def rows_of(batch: SampleBatch) -> list[tuple[float, str, str, float]]:
    """Its samples."""
    columns = (batch.time_s, batch.entity, batch.signal, batch.value)
    return [
        (at_s, batch.entities[entity], batch.signals[signal], value)
        for at_s, entity, signal, value in zip(*(c.tolist() for c in columns), strict=True)
    ]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(ROWS, ROWS), min_size=1, max_size=5))
def test_a_joiner_forgets_nothing_and_mixes_nothing_up(pairs: list[tuple[list, list]]) -> None:  # type: ignore[type-arg]
    joiner = Joiner()
    for first, then in [pair for pair in pairs for _ in range(2)]:
        joined = joiner.join(SampleBatch.from_rows(first), SampleBatch.from_rows(then))
        assert rows_of(joined) == [*first, *then]
