"""The log on Apache Kafka: any number of processes, as durable as the broker's replication.

Opened by `fleetmend.streams.engines.open_log`. Creates its topics, appends with an idempotent
producer that waits for all replicas, and keeps no offsets in Kafka: positions are the readers' own.
kafka-python's errors become StreamError here and go no further.
"""

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress

from kafka import KafkaAdminClient, KafkaProducer
from kafka.errors import KafkaError, TopicAlreadyExistsError

from fleetmend.errors import StreamError
from fleetmend.streams.codec import encode
from fleetmend.streams.kafka_client import OPEN_TIMEOUT_MS, connect, translated
from fleetmend.streams.kafka_reader import KafkaReaders
from fleetmend.streams.partition import partition_count, target
from fleetmend.streams.port import Encoded, Outgoing, RawRecord, TopicPartition
from fleetmend.streams.topics import SPECS, Topic

MESSAGE_BYTES_MAX = 4 * 1024 * 1024
"""What our topics take in one message: `codec.RECORD_BYTES_MAX` and its headers."""

_DELIVERY_TIMEOUT_MS = 30_000
"""A broker that fails over needs 6 to 15 s; after 30 s the caller is told and may try again."""


class KafkaLog:
    """A `Log` on one Kafka cluster; safe for several threads."""

    def __init__(self, bootstrap: str, *, prefix: str, partitions: int, replication: int) -> None:
        """`bootstrap` is `host:port` separated by commas. Topics that are not there are made with
        `replication` copies; topics that are there keep their partitions and settings. Raises
        StreamError when no broker answers within ten seconds."""
        self._bootstrap = bootstrap.split(",")
        self._prefix = prefix
        self._lock = threading.Lock()
        self._closed = False
        self._producer: KafkaProducer | None = None
        with translated(bootstrap):
            self._topics = self._layout(partitions, replication)
        self._readers = KafkaReaders(self._bootstrap, prefix=prefix, bytes_max=MESSAGE_BYTES_MAX)

    def append(self, records: Sequence[Outgoing]) -> None:
        """Append and return when all replicas have acknowledged. After a StreamError some of the
        records may be in the log: appending them again makes duplicates, never gaps. Raises
        BadInput, before anything is sent, for a payload that could not be read back."""
        ready = [
            (target(record, self._topics[record.topic]), record.key, encode(record.payload))
            for record in records
        ]
        with self._sending() as producer:
            # An explicit partition keeps the order of `records`; the futures tell of every one.
            futures = [
                producer.send(
                    self._prefix + place.topic.value,
                    value=encoded.value,
                    key=key.encode(),
                    headers=_headers(encoded),
                    partition=place.partition,
                )
                for place, key, encoded in ready
            ]
            for future in futures:
                future.get(timeout=2 * _DELIVERY_TIMEOUT_MS / 1000)

    def partitions(self, topic: Topic) -> tuple[TopicPartition, ...]:
        """The partitions of a topic, as the broker has them."""
        return self._topics[topic]

    def read(
        self, positions: Mapping[TopicPartition, int], *, limit: int, wait_s: float = 0.0
    ) -> list[RawRecord]:
        """Records from these offsets on. A reader that goes on where it stopped finds what its
        consumer has fetched ahead."""
        for place in positions:
            self._known(place)
        return self._readers.read(positions, limit=limit, wait_s=wait_s)

    def begin(self, partition: TopicPartition) -> int:
        """The first offset that the broker still has."""
        self._known(partition)
        return self._readers.begin(partition)

    def end(self, partition: TopicPartition) -> int:
        """One past the last offset."""
        self._known(partition)
        return self._readers.end(partition)

    def close(self) -> None:
        """Let go of all sockets; a second call does nothing."""
        with self._lock:
            self._closed = True
            producer, self._producer = self._producer, None
        if producer is not None:
            producer.close(timeout=5)
        self._readers.close()

    @contextmanager
    def _sending(self) -> Iterator[KafkaProducer]:
        """The producer; after any error it is thrown away, since what it still holds and the
        numbers it has given are in doubt."""
        with self._lock, translated(self._where()):
            if self._closed:
                raise StreamError("the log is closed", where=self._where())
            if self._producer is None:
                self._producer = self._connect()
            producer = self._producer
        try:
            with translated(self._where()):
                yield producer
        except StreamError:
            with self._lock:
                if self._producer is producer:
                    self._producer = None
            with suppress(KafkaError):
                producer.close(timeout=0)
            raise

    def _connect(self) -> KafkaProducer:
        return connect(
            KafkaProducer,
            bootstrap_servers=self._bootstrap,
            acks="all",
            enable_idempotence=True,
            compression_type=None,  # batches are lz4 inside already
            linger_ms=0,  # the express lane must not wait for company
            batch_size=256 * 1024,
            max_request_size=MESSAGE_BYTES_MAX,
            max_block_ms=OPEN_TIMEOUT_MS,
            request_timeout_ms=OPEN_TIMEOUT_MS,
            delivery_timeout_ms=_DELIVERY_TIMEOUT_MS,
            allow_auto_create_topics=False,
            metrics_enabled=False,
        )

    def _layout(self, wanted: int, replication: int) -> dict[Topic, tuple[TopicPartition, ...]]:
        """Make the topics that are missing and ask for the partitions of all."""
        admin = connect(KafkaAdminClient, bootstrap_servers=self._bootstrap)
        try:
            present = set(admin.list_topics())
            missing = {
                self._prefix + topic.value: {
                    "num_partitions": partition_count(topic, wanted),
                    "replication_factor": replication,
                    "configs": _settings(topic, replication),
                }
                for topic in Topic
                if self._prefix + topic.value not in present
            }
            if missing:
                # Another process may be doing the same at this moment.
                with suppress(TopicAlreadyExistsError):
                    admin.create_topics(missing, raise_errors=True)
            names = [self._prefix + topic.value for topic in Topic]
            admin.wait_for_topics(names, timeout_ms=OPEN_TIMEOUT_MS)
            found = {about["name"]: about for about in admin.describe_topics(names)}
        finally:
            admin.close()
        return {
            topic: tuple(
                TopicPartition(topic, number)
                for number in range(len(found[self._prefix + topic.value]["partitions"]))
            )
            for topic in Topic
        }

    def _known(self, place: TopicPartition) -> None:
        if place not in self._topics[place.topic]:
            raise StreamError(f"no partition {place}", where=self._where())

    def _where(self) -> str:
        return ",".join(self._bootstrap)


def _headers(encoded: Encoded) -> list[tuple[str, bytes]]:
    return [(name, text.encode()) for name, text in encoded.headers.items()]


def _settings(topic: Topic, replication: int) -> dict[str, str]:
    """Topic settings. Append time is the broker's, so that a node with a wrong clock cannot move
    retention."""
    return {
        "cleanup.policy": "delete",
        "retention.ms": str(int(SPECS[topic].retention_s * 1000)),
        "message.timestamp.type": "LogAppendTime",
        "max.message.bytes": str(MESSAGE_BYTES_MAX),
        "min.insync.replicas": str(max(1, replication - 1)),
    }
