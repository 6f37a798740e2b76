"""A stage's snapshot as bytes: named arrays and JSON, checked by a digest. Never pickled.

    FMSNAP 1 | BLAKE2b-256 of the rest | length of the header | header, JSON | arrays, C order

Written by `fleetmend.streams.runner` and read by `fleetmend.streams.recovery`; stores keep the
bytes as they are. A snapshot that cannot be read is as good as none: the log rebuilds the state.
"""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from fleetmend.errors import BadInput
from fleetmend.streams.stage import Json, State

_MAGIC = b"FMSNAP 1"
_DIGEST_BYTES = 32
_LENGTH_BYTES = 8
_KINDS = frozenset("biufcSUmM")
"""Kinds of numpy dtype that are plain memory."""


class _Array(BaseModel):
    """Where an array lies in the bytes."""

    model_config = ConfigDict(extra="forbid", strict=True)

    name: str
    dtype: str
    shape: list[int]


class _Header(BaseModel):
    model_config = ConfigDict(extra="forbid")

    place: object
    values: dict[str, object]
    arrays: list[_Array]


def pack(place: Json, state: State) -> bytes:
    """`place` (where the fold stands) and `state` as bytes. Raises BadInput for values that are
    neither JSON nor plain arrays."""
    arrays: list[dict[str, Json]] = []
    bodies: list[bytes] = []
    values: dict[str, Json] = {}
    for name, value in state.items():
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in _KINDS or value.dtype.names is not None:
                raise BadInput(f"array {name} has dtype {value.dtype}")
            arrays.append({"name": name, "dtype": value.dtype.str, "shape": [*value.shape]})
            bodies.append(np.ascontiguousarray(value).tobytes())
        else:
            values[name] = value
    try:
        header = json.dumps(
            {"place": place, "values": values, "arrays": arrays}, separators=(",", ":")
        ).encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"the state is not JSON: {error}") from error
    body = len(header).to_bytes(_LENGTH_BYTES, "big") + header + b"".join(bodies)
    return _MAGIC + hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() + body


def unpack(blob: bytes) -> tuple[Json, State]:
    """What `pack` was given; arrays are writable copies. Raises BadInput for anything else."""
    start = len(_MAGIC) + _DIGEST_BYTES
    digest, body = blob[len(_MAGIC) : start], blob[start:]
    if blob[: len(_MAGIC)] != _MAGIC:
        raise BadInput("no snapshot of this version")
    if hashlib.blake2b(body, digest_size=_DIGEST_BYTES).digest() != digest:
        raise BadInput("the snapshot is damaged")
    length = int.from_bytes(body[:_LENGTH_BYTES], "big")
    header_bytes = body[_LENGTH_BYTES : _LENGTH_BYTES + length]
    rest = memoryview(body)[_LENGTH_BYTES + length :]
    try:
        header = _Header.model_validate(json.loads(header_bytes))
        state: dict[str, NDArray[np.generic] | Json] = dict(cast(dict[str, Json], header.values))
        for about in header.arrays:
            state[about.name], rest = _array(about, rest)
    except (ValidationError, ValueError, TypeError) as error:
        raise BadInput(f"the snapshot's header is wrong: {error}") from error
    if rest:
        raise BadInput("the snapshot has bytes too many")
    return cast(Json, header.place), cast(Mapping[str, "NDArray[np.generic] | Json"], state)


def _array(about: _Array, rest: memoryview) -> tuple[NDArray[np.generic], memoryview]:
    dtype = np.dtype(about.dtype)
    if dtype.kind not in _KINDS or any(size < 0 for size in about.shape):
        raise BadInput(f"array {about.name} has dtype {about.dtype}, shape {about.shape}")
    size = dtype.itemsize * math.prod(about.shape)
    if len(rest) < size:
        raise BadInput(f"array {about.name} is cut off")
    array = np.frombuffer(rest[:size], dtype).reshape(about.shape).copy()
    return array, rest[size:]
