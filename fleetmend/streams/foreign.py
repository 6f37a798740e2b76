"""Topics that somebody else writes and that are none of ours: read from now on, as bytes.

`collectors.otlp` reads an OpenTelemetry Collector's topics this way. Nothing is committed:
telemetry older than a few seconds is of no use to anybody, so every start begins at the end.
"""

from collections.abc import Sequence
from typing import Any

from kafka import KafkaConsumer
from kafka import TopicPartition as KafkaPartition

from fleetmend.errors import StreamError
from fleetmend.streams.kafka_client import connect, translated
from fleetmend.streams.port import ForeignRecord

FETCH_BYTES_MAX = 16 * 1024 * 1024
"""Bytes of one fetch, which bounds what is held."""
_RECORDS_MAX = 100


class ForeignTopics:
    """Implements `ForeignReader` on Kafka. One thread at a time."""

    def __init__(self, bootstrap: str, topics: Sequence[str]) -> None:
        """`bootstrap`: `host:port`, separated by commas. Raises StreamError when no broker answers
        or a topic is not there."""
        self._where = bootstrap
        with translated(bootstrap):
            self._consumer: Any = connect(
                KafkaConsumer,
                bootstrap_servers=bootstrap.split(","),
                group_id=None,
                enable_auto_commit=False,
                auto_offset_reset="latest",  # lost records are late ones
                fetch_max_bytes=FETCH_BYTES_MAX,
                max_partition_fetch_bytes=FETCH_BYTES_MAX,
                allow_auto_create_topics=False,
                metrics_enabled=False,
            )
        try:
            self._begin(topics)
        except StreamError:
            self.close()
            raise

    def _begin(self, topics: Sequence[str]) -> None:
        places = []
        for topic in topics:
            with translated(self._where):
                found = self._consumer.partitions_for_topic(topic)
            if not found:
                raise StreamError(f"no topic {topic}", where=self._where)
            places += [KafkaPartition(topic, number) for number in sorted(found)]
        with translated(self._where):
            self._consumer.assign(places)
            self._consumer.seek_to_end(*places)
            for place in places:  # now, not at the first fetch
                self._consumer.position(place)

    def poll(self, wait_s: float) -> list[ForeignRecord]:
        """What has come; waits at most `wait_s` for it. Raises StreamError."""
        with translated(self._where):
            found = self._consumer.poll(
                timeout_ms=max(1, int(wait_s * 1000)), max_records=_RECORDS_MAX
            )
        return [
            ForeignRecord(place.topic, place.partition, message.offset, message.value or b"")
            for place, messages in found.items()
            for message in messages
        ]

    def close(self) -> None:
        """Let go of the broker."""
        with translated(self._where):
            self._consumer.close()
