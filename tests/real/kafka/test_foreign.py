"""Topics that an OpenTelemetry Collector writes, on a real broker, down to the fast decoder."""

import uuid

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka.admin import NewTopic

from collectors.otlp.decoder import Decoder
from fleetmend.errors import StreamError
from fleetmend.streams.foreign import ForeignTopics
from fleetmend.streams.port import ForeignRecord
from tests.unit.collectors.otlp.test_decoder import steady

pytestmark = pytest.mark.kafka


@pytest.fixture
def topic(kafka_bootstrap: str) -> str:
    name = f"otlp-{uuid.uuid4().hex[:10]}"
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=1)])
    admin.close()
    return name


def send(bootstrap: str, topic: str, bodies: list[bytes]) -> None:
    """As the Collector's exporter does: no key, lz4."""
    producer = KafkaProducer(bootstrap_servers=bootstrap, compression_type="lz4")
    for number, body in enumerate(bodies):
        producer.send(topic, body, partition=number % 2)
    producer.flush()
    producer.close()


def test_what_comes_after_the_start_is_read_whole_and_what_came_before_is_not(
    kafka_bootstrap: str, topic: str
) -> None:
    send(kafka_bootstrap, topic, [b"before"])
    reader = ForeignTopics(kafka_bootstrap, [topic])
    bodies = [steady(seed).SerializeToString() for seed in range(6)]
    send(kafka_bootstrap, topic, bodies)
    found: list[ForeignRecord] = []
    for _ in range(100):
        found += reader.poll(0.1)
        if len(found) >= len(bodies):
            break
    reader.close()
    assert sorted(record.value for record in found) == sorted(bodies)
    decoder = Decoder()
    assert {len(decoder.decode(record.value)) for record in found} == {300}
    assert decoder.plain_messages == 0


def test_a_topic_that_is_not_there_is_told(kafka_bootstrap: str) -> None:
    with pytest.raises(StreamError, match="no topic"):
        ForeignTopics(kafka_bootstrap, ["never-made"])
