"""How many samples a second go through the logs, from a producer's arrays to a reader's arrays.

`python benchmarks/streams.py` starts a broker of its own, prints a table and writes
`benchmarks/results/streams.json`. Producer and reader are pinned to one core each: two threads for
the embedded log (it serves one process), two processes for Kafka, whose broker takes what is left
of the machine. Beside them, in the same run: one JSON record per sample through the same logs, and
confluent-kafka with the same bytes on the same broker.

kafka-python checks every record with CRC-32C; without the package `crc32c` it does so in Python,
which costs ten times all the rest. The result says which it was.
"""

import json
import multiprocessing
import os
import platform
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from confluent_kafka import Consumer as ConfluentConsumer
from confluent_kafka import Producer as ConfluentProducer
from confluent_kafka import TopicPartition as ConfluentPartition
from kafka import KafkaConsumer, KafkaProducer
from kafka import TopicPartition as KafkaPartition
from kafka.record.util import crc32c_c

from deploy.parts.kafka import KafkaBroker
from fleetmend.clock import SystemClock
from fleetmend.model.samples import SampleBatch
from fleetmend.streams.arrow_write import encode_samples
from fleetmend.streams.columns import decode_samples
from fleetmend.streams.kafka import MESSAGE_BYTES_MAX, KafkaLog
from fleetmend.streams.port import Log, Outgoing, TopicPartition
from fleetmend.streams.reader import Reader
from fleetmend.streams.rebatch import joined
from fleetmend.streams.sqlite import SqliteLog
from fleetmend.streams.sqlite_file import LogFile, Row
from fleetmend.streams.topics import Topic
from fleetmend.testing import MemoryDeadLetters

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "streams.json"
WANTED = 2_000_000
"""Samples a second on one core each."""

GPUS, SIGNALS, SECONDS = 8, 40, 5
AGENT_ROWS = GPUS * SIGNALS * SECONDS
"""What one node's agent sends at once."""
PLACE = TopicPartition(Topic.SAMPLES, 0)
TIMEOUT_S = 120.0
CORES = sorted(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Figure:
    """One way through one log."""

    way: str
    rows_per_record: int
    records_per_append: int
    samples: int
    wall_s: float
    """From the first append to the last decoded array."""
    producer_cpu_us: float
    """CPU of the producer's thread or process, microseconds a sample."""
    reader_cpu_us: float
    bytes_per_sample: float

    @property
    def rate(self) -> float:
        """Samples a second."""
        return self.samples / self.wall_s


@dataclass(frozen=True, slots=True)
class Side:
    """What one end measured: seconds of wall clock (absolute) and of CPU."""

    began_s: float
    ended_s: float
    cpu_s: float
    bytes: int = 0


def agent_batch(node: int, at_s: float) -> SampleBatch:
    """Five seconds of one node: values move a little, as gauges do."""
    rng = np.random.default_rng(node)
    rows = np.arange(AGENT_ROWS)
    base = 100.0 + rows % SIGNALS * 10.0
    return SampleBatch(
        at_s + (rows // (GPUS * SIGNALS)).astype(np.float64),
        (rows // SIGNALS % GPUS).astype(np.int32),
        (rows % SIGNALS).astype(np.int32),
        np.round(base + rng.normal(0, 2, AGENT_ROWS), 1),
        tuple(f"lab/gpu/GPU-{node:08x}-0000-0000-0000-{gpu:012x}" for gpu in range(GPUS)),
        tuple(f"gpu.signal_{signal}" for signal in range(SIGNALS)),
    )


def batches(merged: int) -> list[SampleBatch]:
    """Fifty different batches, each of `merged` agents."""
    return [
        joined([agent_batch(n * merged + m, 1.8e9 + n) for m in range(merged)]) for n in range(50)
    ]


def pin(core: int) -> None:
    """This thread, and threads that it starts, run on one core."""
    os.sched_setaffinity(0, {CORES[core % len(CORES)]})


def produce(log: Log, ready: list[SampleBatch], records: int, per_append: int) -> Side:
    """Append `records` batches, `per_append` in one call."""
    outgoing = [
        Outgoing(Topic.SAMPLES, "node", ready[n % len(ready)], PLACE.partition)
        for n in range(records)
    ]
    began_s, cpu_s = time.perf_counter(), time.thread_time()
    for start in range(0, records, per_append):
        log.append(outgoing[start : start + per_append])
    return Side(began_s, time.perf_counter(), time.thread_time() - cpu_s)


def consume(log: Log, samples: int) -> Side:
    """Read until `samples` lie in arrays."""
    reader = Reader(log, {PLACE: 0}, dead_letters=MemoryDeadLetters(), clock=SystemClock())
    seen, size = 0, 0
    began_s, cpu_s = time.perf_counter(), time.thread_time()
    while seen < samples and time.perf_counter() - began_s < TIMEOUT_S:
        for fetched in reader.poll(wait_s=1.0):
            if fetched.record is not None and isinstance(fetched.record.payload, SampleBatch):
                seen += len(fetched.record.payload)
                size += len(fetched.raw.value)
    if seen != samples:
        raise SystemExit(f"{seen} of {samples} samples came out")
    return Side(began_s, time.perf_counter(), time.thread_time() - cpu_s, size)


def figure(way: str, rows: int, per_append: int, samples: int, ends: tuple[Side, Side]) -> Figure:
    producer, reader = ends
    return Figure(
        way=way,
        rows_per_record=rows,
        records_per_append=per_append,
        samples=samples,
        wall_s=reader.ended_s - producer.began_s,
        producer_cpu_us=producer.cpu_s / samples * 1e6,
        reader_cpu_us=reader.cpu_s / samples * 1e6,
        bytes_per_sample=reader.bytes / samples,
    )


def in_threads(produce: Callable[[], Side], consume: Callable[[], Side]) -> tuple[Side, Side]:
    """Both ends as pinned threads of this process."""
    sides: dict[str, Side] = {}

    def run(name: str, core: int, work: Callable[[], Side]) -> None:
        pin(core)
        sides[name] = work()

    threads = [
        threading.Thread(target=run, args=("consume", 1, consume)),
        threading.Thread(target=run, args=("produce", 0, produce)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sides["produce"], sides["consume"]


def embedded(merged: int, records: int, per_append: int) -> Figure:
    """Arrow batches through the embedded log."""
    ready = batches(merged)
    samples = records * len(ready[0])
    with tempfile.TemporaryDirectory() as folder:
        log = SqliteLog(f"{folder}/log.db", clock=SystemClock(), partitions=1)
        ends = in_threads(
            lambda: produce(log, ready, records, per_append), lambda: consume(log, samples)
        )
        log.close()
    return figure("embedded, Arrow", AGENT_ROWS * merged, per_append, samples, ends)


def json_rows(batch: SampleBatch) -> list[bytes]:
    """One document for each sample, as one would write it."""
    return [
        json.dumps(
            {"ts": t, "entity": batch.entities[e], "signal": batch.signals[s], "value": v}
        ).encode()
        for t, e, s, v in zip(
            batch.time_s.tolist(), batch.entity, batch.signal, batch.value.tolist(), strict=True
        )
    ]


def columns(documents: list[bytes]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """What the reader of JSON ends with: arrays of times and values, like the others."""
    rows = [json.loads(document) for document in documents]
    return np.array([row["ts"] for row in rows]), np.array([row["value"] for row in rows])


def embedded_json(samples: int, per_append: int) -> Figure:
    """One JSON record per sample through the same file, a transaction for `per_append`."""
    batch = agent_batch(0, 1.8e9)
    rounds = samples // AGENT_ROWS

    def produce(file: LogFile) -> Side:
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        for _ in range(rounds):
            rows = [Row(PLACE, "node", {}, document) for document in json_rows(batch)]
            for start in range(0, len(rows), per_append):
                file.insert(rows[start : start + per_append], append_s=0.0)
        return Side(began_s, time.perf_counter(), time.thread_time() - cpu_s)

    def consume(file: LogFile) -> Side:
        position, size = 0, 0
        began_s, cpu_s = time.perf_counter(), time.thread_time()
        while position < rounds * AGENT_ROWS:
            left = file.parts[PLACE].next - position
            if not left:
                time.sleep(0.001)  # a benchmark waits in real time
                continue
            found = file.select({PLACE: position}, {PLACE: min(left, 1000)})
            columns([raw.value for raw in found])
            size += sum(len(raw.value) for raw in found)
            position += len(found)
        return Side(began_s, time.perf_counter(), time.thread_time() - cpu_s, size)

    with tempfile.TemporaryDirectory() as folder:
        file = LogFile(f"{folder}/log.db", partitions=1)
        ends = in_threads(lambda: produce(file), lambda: consume(file))
        file.close()
    return figure("embedded, JSON per sample", 1, per_append, rounds * AGENT_ROWS, ends)


@dataclass(frozen=True, slots=True)
class Job:
    """What the two processes of a Kafka run have to know."""

    way: str
    bootstrap: str
    prefix: str
    merged: int
    records: int
    per_append: int

    @property
    def rows(self) -> int:
        """Rows of one record."""
        return AGENT_ROWS * self.merged if self.merged else 1

    @property
    def topic(self) -> str:
        """The samples topic's name on the broker."""
        return self.prefix + Topic.SAMPLES.value


Work = Callable[[], Side]


def kafka_ours(job: Job, end: str) -> Work:
    """Our log, one end of it, connected."""
    log = KafkaLog(job.bootstrap, prefix=job.prefix, partitions=1, replication=1)
    if end == "produce":
        log.append([Outgoing(Topic.ACTIONS, "", agent_batch(0, 1.8e9))])
        ready = batches(job.merged)
        return lambda: produce(log, ready, job.records, job.per_append)
    log.read({PLACE: 0}, limit=1, wait_s=0.5)
    return lambda: consume(log, job.records * job.rows)


def kafka_json(job: Job, end: str) -> Work:
    """kafka-python with one JSON document per sample."""
    if end == "produce":
        producer = KafkaProducer(
            bootstrap_servers=job.bootstrap, acks="all", linger_ms=20, batch_size=256 * 1024
        )
        producer.partitions_for(job.topic)

        def send() -> Side:
            began_s = time.perf_counter()
            for value in encoded(job, []):
                producer.send(job.topic, value, partition=0)
            producer.flush()
            return Side(began_s, time.perf_counter(), 0.0)

        return send
    consumer = KafkaConsumer(bootstrap_servers=job.bootstrap, max_partition_fetch_bytes=1 << 22)
    consumer.assign([KafkaPartition(job.topic, 0)])
    consumer.seek(KafkaPartition(job.topic, 0), 0)
    consumer.poll(500)

    def take() -> Side:
        seen, size, began_s = 0, 0, time.perf_counter()
        while seen < job.records:
            for messages in consumer.poll(1000, max_records=2000).values():
                columns([message.value for message in messages])
                seen += len(messages)
                size += sum(len(message.value) for message in messages)
        return Side(began_s, time.perf_counter(), 0.0, size)

    return take


def confluent(job: Job, end: str) -> Work:
    """librdkafka with the same Arrow bytes (or JSON when nothing is merged)."""
    if end == "produce":
        producer = ConfluentProducer(
            {
                "bootstrap.servers": job.bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 0 if job.merged else 20,
                "message.max.bytes": MESSAGE_BYTES_MAX,
            }
        )
        producer.list_topics(job.topic, timeout=10)
        ready = batches(job.merged) if job.merged else []

        def send() -> Side:
            began_s = time.perf_counter()
            for value in encoded(job, ready):
                while True:
                    try:
                        producer.produce(job.topic, value, partition=0)
                        break
                    except BufferError:
                        producer.poll(0.01)
                producer.poll(0)
            producer.flush()
            return Side(began_s, time.perf_counter(), 0.0)

        return send
    consumer = ConfluentConsumer({"bootstrap.servers": job.bootstrap, "group.id": job.prefix})
    consumer.assign([ConfluentPartition(job.topic, 0, 0)])
    consumer.consume(1, timeout=0.5)

    def take() -> Side:
        seen, size, began_s = 0, 0, time.perf_counter()
        while seen < job.records * job.rows:
            found = [message.value() for message in consumer.consume(500, timeout=1.0)]
            values = [value for value in found if isinstance(value, bytes)]
            size += sum([len(value) for value in values])
            if job.merged:
                seen += sum([len(decode_samples(value)) for value in values])
            elif values:
                seen += len(columns(values)[0])
        return Side(began_s, time.perf_counter(), 0.0, size)

    return take


def encoded(job: Job, ready: list[SampleBatch]) -> Iterator[bytes]:
    """The values that a producer sends, encoded as they are needed."""
    for n in range(job.records):
        if job.merged:
            yield encode_samples(ready[n % len(ready)])
        elif n % AGENT_ROWS == 0:
            documents = json_rows(agent_batch(0, 1.8e9))
            yield from documents[: job.records - n]


def whole(work: Work) -> Side:
    """With the CPU of the whole process: clients work in threads of their own."""
    cpu_s = time.process_time()
    side = work()
    return Side(side.began_s, side.ended_s, time.process_time() - cpu_s, side.bytes)


ENDS: dict[str, Callable[[Job, str], Work]] = {
    "kafka, Arrow": kafka_ours,
    "kafka, JSON per sample": kafka_json,
    "confluent, Arrow": confluent,
    "confluent, JSON per sample": confluent,
}


def end_process(job: Job, end: str, core: int, both: Any, answers: Any) -> None:
    """One end in a process of its own; it begins when both are connected."""
    pin(core)
    work = ENDS[job.way](job, end)
    both.wait(TIMEOUT_S)
    answers.put((end, whole(work)))


def through_kafka(job: Job) -> Figure:
    """Both ends as pinned processes on one broker."""
    KafkaLog(job.bootstrap, prefix=job.prefix, partitions=1, replication=1).close()
    context = multiprocessing.get_context("spawn")
    answers, both = context.Queue(), context.Barrier(2)
    processes = [
        context.Process(target=end_process, args=(job, end, core, both, answers))
        for end, core in (("consume", 1), ("produce", 0))
    ]
    for process in processes:
        process.start()
    sides = dict(answers.get(timeout=TIMEOUT_S) for _ in processes)
    for process in processes:
        process.join()
    samples = job.records * job.rows
    ends = (sides["produce"], sides["consume"])
    return figure(job.way, job.rows, job.per_append, samples, ends)


def measure(bootstrap: str) -> Iterator[Figure]:
    """Every way, one after the other."""
    yield embedded(merged=1, records=3000, per_append=1)
    yield embedded(merged=4, records=2400, per_append=1)
    yield embedded(merged=4, records=2400, per_append=8)
    yield embedded_json(64_000, per_append=AGENT_ROWS)
    for way, merged, records, per_append in (
        ("kafka, Arrow", 1, 3000, 1),
        ("kafka, Arrow", 4, 1600, 1),
        ("kafka, Arrow", 4, 2400, 8),
        ("kafka, JSON per sample", 0, 64_000, 1),
        ("confluent, Arrow", 4, 2400, 1),
        ("confluent, JSON per sample", 0, 128_000, 1),
    ):
        prefix = f"bench{time.monotonic_ns()}."
        yield through_kafka(Job(way, bootstrap, prefix, merged, records, per_append))


def main() -> None:
    """Measure, print, save."""
    figures = []
    print(f"CRC-32C of kafka-python: {'native' if crc32c_c else 'pure Python'}")
    print(
        f"{'way':<28}{'rows':>6}{'records':>9}{'samples/s':>13}"
        f"{'producer':>10}{'reader':>9}{'bytes':>8}"
    )
    print(f"{'':<28}{'':>6}{'/append':>9}{'':>13}{'CPU µs':>10}{'CPU µs':>9}{'/sample':>8}")
    with tempfile.TemporaryDirectory() as folder:
        broker = KafkaBroker(Path(folder) / "broker")
        try:
            for f in measure(broker.bootstrap):
                figures.append(f)
                print(
                    f"{f.way:<28}{f.rows_per_record:>6}{f.records_per_append:>9}{f.rate:>13,.0f}"
                    f"{f.producer_cpu_us:>10.3f}{f.reader_cpu_us:>9.3f}{f.bytes_per_sample:>8.1f}",
                    flush=True,
                )
        finally:
            broker.stop()
    document = {
        "measured": datetime.now(UTC).date().isoformat(),  # when, for the reader
        "commit": subprocess.run(
            ["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        ).stdout.strip(),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "python": platform.python_version(),
        "load_1min_before": LOAD,
        "wanted_samples_per_s": WANTED,
        "crc32c": "native" if crc32c_c else "pure Python",
        "figures": [asdict(f) | {"samples_per_s": round(f.rate)} for f in figures],
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(document, indent=2) + "\n")


LOAD = round(os.getloadavg()[0], 1)
"""Of the machine before we began: a busy one gives lower figures."""

if __name__ == "__main__":
    main()
