"""A snapshot gives back exactly what was saved, or says that it cannot."""

import hashlib
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from fleetmend.errors import BadInput
from fleetmend.streams.snapshot import pack, unpack
from fleetmend.streams.stage import State

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda children: (
        st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=5), children, max_size=3)
    ),
    max_leaves=8,
)
dtypes: list[np.dtype[Any]] = [np.dtype(name) for name in ("f8", "i4", "?", "u1", "U3")]
arrays: st.SearchStrategy[NDArray[Any]] = hnp.arrays(
    st.sampled_from(dtypes), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)
)


@given(
    json_values,
    st.dictionaries(st.text(max_size=6), json_values, max_size=3),
    st.lists(arrays, max_size=3),
)
@settings(max_examples=80, deadline=None)
def test_a_state_survives(
    place: object, values: dict[str, object], kept: list[NDArray[Any]]
) -> None:
    state: dict[str, object] = values | {f"array {n}": array for n, array in enumerate(kept)}
    back_place, back = unpack(pack(place, state))  # type: ignore[arg-type]  # any JSON
    assert back_place == place
    assert back.keys() == state.keys()
    for name, value in state.items():
        found = back[name]
        if isinstance(value, np.ndarray):
            assert isinstance(found, np.ndarray)
            assert (found.dtype, found.shape) == (value.dtype, value.shape)
            np.testing.assert_array_equal(found, value)
        else:
            assert found == value


def test_what_comes_back_can_be_changed() -> None:
    """Stages go on with the arrays they were given."""
    _, state = unpack(pack(None, {"a": np.zeros(3)}))
    array = state["a"]
    assert isinstance(array, np.ndarray)
    array[0] = 1


def test_a_transposed_array_is_kept_as_it_looks() -> None:
    array = np.arange(6).reshape(2, 3).T
    _, state = unpack(pack(None, {"a": array}))
    np.testing.assert_array_equal(np.asarray(state["a"]), array)


@pytest.mark.parametrize(
    "value", [np.array([object()]), np.zeros(2, dtype=[("a", "i4")]), {1, 2}, b"bytes"], ids=str
)
def test_what_is_no_plain_state_is_refused(value: object) -> None:
    with pytest.raises(BadInput):
        pack(None, {"a": value})  # type: ignore[dict-item]  # the point of the test


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_one_changed_byte_is_noticed(data: st.DataObject) -> None:
    blob = pack({"tick": 3}, {"a": np.arange(9), "b": [1, 2]})
    place = data.draw(st.integers(0, len(blob) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda byte: byte != blob[place]))
    with pytest.raises(BadInput):
        unpack(blob[:place] + bytes([byte]) + blob[place + 1 :])


@given(st.binary(max_size=200))
@settings(deadline=None)
def test_random_bytes_are_no_snapshot(blob: bytes) -> None:
    with pytest.raises(BadInput):
        unpack(blob)


@pytest.mark.parametrize(
    "header",
    [
        [],
        {"place": None, "values": {}},
        {"place": None, "values": {}, "arrays": [{"name": "a", "dtype": "|O", "shape": [1]}]},
        {"place": None, "values": {}, "arrays": [{"name": "a", "dtype": "<f8", "shape": [99]}]},
        {"place": None, "values": {}, "arrays": [{"name": "a", "dtype": "<f8", "shape": [-1]}]},
        {"place": None, "values": {}, "arrays": [{"name": "a", "dtype": "what", "shape": [1]}]},
    ],
    ids=str,
)
def test_a_wrong_header_is_refused_even_with_the_right_digest(header: object) -> None:
    head = json.dumps(header).encode()
    body = len(head).to_bytes(8, "big") + head + b"12345678"
    with pytest.raises(BadInput):
        unpack(b"FMSNAP 1" + hashlib.blake2b(body, digest_size=32).digest() + body)


def test_equal_states_give_equal_bytes() -> None:
    state: State = {"a": np.arange(3), "b": {"x": 1.5}}
    assert pack({"t": 1}, state) == pack({"t": 1}, state)
