"""How a record lies in a spool: its place, headers and bytes in one body. `fleetmend.streams.spool`
packs and unpacks with it.

A body is `length of the head (u32, little endian) | head (JSON: topic, key, partition, headers) |
the encoded payload`.
"""

import json
from collections.abc import Sequence
from typing import Literal

from fleetmend.errors import BadInput
from fleetmend.model.ticks import Mark
from fleetmend.streams.codec import KIND_HEADER, TIME_HEADER, encode
from fleetmend.streams.port import Encoded, Outgoing
from fleetmend.streams.topics import Topic

Kept = Literal["samples", "events"]
"""The two chains: what goes first when room is short, and what goes last."""
NEVER_S = float("inf")


def kept_in(record: Outgoing) -> Kept:
    """The chain of a record: marks go with the samples that they are about."""
    return "samples" if record.topic is Topic.SAMPLES or is_mark(record) else "events"


def is_mark(record: Outgoing) -> bool:
    """Whether it is a promise, encoded or not."""
    payload = record.payload
    if isinstance(payload, Encoded):
        return payload.headers.get(KIND_HEADER) == Mark.__name__
    return isinstance(payload, Mark)


def packed(records: Sequence[Outgoing]) -> list[tuple[Kept, bytes]]:
    """Each with its chain. A mark that goes to many partitions is encoded once. Raises BadInput."""
    bodies: list[tuple[Kept, bytes]] = []
    last: tuple[object, Encoded] | None = None
    for record in records:
        if last is None or record.payload is not last[0]:
            last = (record.payload, encode(record.payload))
        headers, value = last[1].headers, last[1].value
        head = json.dumps([record.topic.value, record.key, record.partition, headers]).encode()
        bodies.append((kept_in(record), len(head).to_bytes(4, "little") + head + value))
    return bodies


def unpacked(body: bytes) -> Outgoing:
    """The record as it was appended; its payload stays as it lies there, since it was encoded by
    `append` and its checksum is right. Raises BadInput."""
    try:
        length = int.from_bytes(body[:4], "little")
        topic, key, partition, headers = json.loads(body[4 : 4 + length])
        named = {str(name): str(text) for name, text in headers.items()}
        payload = Encoded(named, body[4 + length :])
        return Outgoing(Topic(topic), str(key), payload, partition)
    except (ValueError, TypeError, AttributeError) as error:
        raise BadInput(str(error), where="spool") from error


def time_of(body: bytes) -> float:
    """The newest event time in a stored record; infinite when it cannot be read."""
    try:
        payload = unpacked(body).payload
        return float(payload.headers[TIME_HEADER]) if isinstance(payload, Encoded) else NEVER_S
    except (BadInput, KeyError, ValueError):
        return NEVER_S
