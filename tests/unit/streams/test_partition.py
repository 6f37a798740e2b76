"""Keys lie where Kafka's own clients put them, so both logs and foreign producers agree."""

from hypothesis import given, settings
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as kafkas_own

from fleetmend.streams.partition import murmur2, partition_count, partition_of
from fleetmend.streams.topics import Topic


@given(st.binary(max_size=40))
@settings(deadline=None)
def test_the_hash_is_kafkas(data: bytes) -> None:
    assert murmur2(data) == kafkas_own(data)


@given(st.text(st.characters(codec="utf-8")), st.integers(1, 256))
@settings(deadline=None)
def test_every_key_has_a_partition(key: str, partitions: int) -> None:
    assert 0 <= partition_of(key, partitions) < partitions


def test_only_topics_that_are_spread_take_the_setting() -> None:
    assert [partition_count(topic, 9) for topic in (Topic.SAMPLES, Topic.EVENTS)] == [9, 9]
    assert [partition_count(topic, 9) for topic in (Topic.TICKS, Topic.FINDINGS)] == [1, 1]
