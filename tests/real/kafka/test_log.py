"""The log on a real Kafka broker keeps the same contract."""

import threading
import uuid

import pytest
from kafka import KafkaAdminClient, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.admin import ConfigResource, ConfigResourceType

from fleetmend.errors import StreamError
from fleetmend.streams.kafka import KafkaLog
from fleetmend.streams.port import Log, TopicPartition
from fleetmend.streams.topics import SPECS, Topic
from tests.contract.streams.log_contract import WAIT_S, LogContract, Opener, drain, mark, place

pytestmark = pytest.mark.kafka


@pytest.fixture
def prefix() -> str:
    """Topics of the test's own on the shared broker."""
    return f"t{uuid.uuid4().hex[:10]}."


class TestKafka(LogContract):
    """The contract on a broker."""

    @pytest.fixture
    def opener(self, kafka_bootstrap: str, prefix: str) -> Opener:
        self.bootstrap, self.prefix = kafka_bootstrap, prefix
        return lambda: KafkaLog(kafka_bootstrap, prefix=prefix, partitions=4, replication=1)

    def forget_all(self, log: Log, where: TopicPartition) -> None:
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap)
        theirs = KafkaPartition(self.prefix + where.topic.value, where.partition)
        admin.delete_records({theirs: log.end(where)})
        admin.close()


def test_topics_are_made_as_the_specification_says(kafka_bootstrap: str, prefix: str) -> None:
    KafkaLog(kafka_bootstrap, prefix=prefix, partitions=3, replication=1).close()
    admin = KafkaAdminClient(bootstrap_servers=kafka_bootstrap)
    names = [prefix + topic.value for topic in Topic]
    partitions = {about["name"]: len(about["partitions"]) for about in admin.describe_topics(names)}
    samples = prefix + Topic.SAMPLES.value
    asked = [ConfigResource(ConfigResourceType.TOPIC, samples)]
    settings = admin.describe_configs(asked)["topic"][samples]
    admin.close()

    assert partitions[samples] == 3
    assert partitions[prefix + Topic.FINDINGS.value] == 1
    assert settings["retention.ms"]["value"] == str(int(SPECS[Topic.SAMPLES].retention_s * 1000))
    assert settings["message.timestamp.type"]["value"] == "LogAppendTime"


def test_a_topic_that_is_there_keeps_its_partitions(kafka_bootstrap: str, prefix: str) -> None:
    KafkaLog(kafka_bootstrap, prefix=prefix, partitions=2, replication=1).close()
    log = KafkaLog(kafka_bootstrap, prefix=prefix, partitions=6, replication=1)
    count = len(log.partitions(Topic.SAMPLES))
    log.close()

    assert count == 2


def test_two_processes_share_the_log(kafka_bootstrap: str, prefix: str) -> None:
    first = KafkaLog(kafka_bootstrap, prefix=prefix, partitions=4, replication=1)
    second = KafkaLog(kafka_bootstrap, prefix=prefix, partitions=4, replication=1)
    first.append([mark(1)])
    second.append([mark(2)])
    records = drain(first, {place(): 0})
    first.close()
    second.close()

    assert len(records) == 2


def test_what_a_foreign_producer_writes_is_handed_over(kafka_bootstrap: str, prefix: str) -> None:
    """Without key, headers or value it is for the decoder to refuse, not for the log to die of."""
    log = KafkaLog(kafka_bootstrap, prefix=prefix, partitions=4, replication=1)
    producer = KafkaProducer(bootstrap_servers=kafka_bootstrap)
    producer.send(prefix + "events", value=b"hello", partition=0).get(WAIT_S)
    producer.send(prefix + "events", key=b"\xff", value=None, partition=0).get(WAIT_S)
    producer.close()
    first, second = drain(log, {place(): 0})
    log.close()

    assert (first.key, first.value, first.headers) == ("", b"hello", {})
    assert (second.key, second.value) == ("\ufffd", b"")


def test_several_readers_in_one_thread_keep_a_consumer_each(
    kafka_bootstrap: str, prefix: str
) -> None:
    """Else each record would cost a reconnection or a seek. A consumer is one thread."""
    log = KafkaLog(kafka_bootstrap, prefix=prefix, partitions=2, replication=1)
    all_of_it = {place(): 0, place(1): 0}
    part_of_it = {place(): 0}
    for n in range(6):
        log.append([mark(n), mark(n, partition=1)])
        drain(log, part_of_it)
        drain(log, all_of_it)
        if n == 1:
            threads = threading.active_count()
    assert threading.active_count() == threads
    assert (all_of_it, part_of_it) == ({place(): 6, place(1): 6}, {place(): 6})
    log.close()


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.usefixtures("refusals")
def test_a_broker_that_is_not_there_is_said_and_nothing_is_left_behind() -> None:
    """Nobody listens on port 1. A process that waits for its broker tries again and again."""
    threads = threading.active_count()

    assert refusal().startswith("127.0.0.1:1: KafkaTimeoutError")
    assert threading.active_count() == threads


def refusal() -> str:
    """What a log without a broker says; no frame of the attempt outlives this one."""
    try:
        KafkaLog("127.0.0.1:1", prefix="x.", partitions=1, replication=1)
    except StreamError as error:
        return str(error)
    return ""
