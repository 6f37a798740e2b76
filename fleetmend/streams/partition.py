"""Which partition a key belongs to: the same answer in both logs and in Kafka's own clients.

Kafka's default is murmur2 of the key's bytes, so records that another client writes with the same
key land beside ours.
"""

from collections.abc import Sequence
from functools import lru_cache

from fleetmend.errors import StreamError
from fleetmend.streams.port import Outgoing, TopicPartition
from fleetmend.streams.topics import SPECS, Topic

_MASK = 0xFFFFFFFF
_M = 0x5BD1E995
_SEED = 0x9747B28C


def partition_count(topic: Topic, wanted: int) -> int:
    """How many partitions a topic gets: `wanted` where it is spread at all, else one."""
    return wanted if SPECS[topic].partitions > 1 else 1


def target(record: Outgoing, partitions: Sequence[TopicPartition]) -> TopicPartition:
    """Where a record goes among its topic's partitions. Raises StreamError for a partition that
    is not there."""
    if record.partition is None:
        return partitions[partition_of(record.key, len(partitions))]
    if not 0 <= record.partition < len(partitions):
        raise StreamError(f"no partition {record.partition}", where=record.topic.value)
    return partitions[record.partition]


@lru_cache(maxsize=65_536)
def partition_of(key: str, partitions: int) -> int:
    """The partition (from 0) of `key` among `partitions`."""
    return (murmur2(key.encode()) & 0x7FFFFFFF) % partitions


def murmur2(data: bytes) -> int:
    """MurmurHash2, 32 bits, with Kafka's seed (Austin Appleby's public-domain algorithm)."""
    h = (_SEED ^ len(data)) & _MASK
    whole = len(data) & ~3
    for start in range(0, whole, 4):
        k = int.from_bytes(data[start : start + 4], "little") * _M & _MASK
        k = (k ^ (k >> 24)) * _M & _MASK
        h = (h * _M & _MASK) ^ k
    if whole < len(data):
        h = (h ^ int.from_bytes(data[whole:], "little")) * _M & _MASK
    h = (h ^ (h >> 13)) * _M & _MASK
    return h ^ (h >> 15)
