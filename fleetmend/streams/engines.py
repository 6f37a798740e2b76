"""Opens the log that the settings name. Called by the composition root."""

from fleetmend.clock import Clock
from fleetmend.settings.streams import StreamsSettings
from fleetmend.streams.kafka import KafkaLog
from fleetmend.streams.port import Log
from fleetmend.streams.sqlite import SqliteLog


def open_log(settings: StreamsSettings, clock: Clock) -> Log:
    """The embedded log or Kafka. Raises StreamError when it cannot be opened.

    `clock` stamps the records of the embedded log; on Kafka the broker's own clock does.
    """
    match settings.engine:
        case "embedded":
            return SqliteLog(settings.path, clock=clock, partitions=settings.partitions)
        case "kafka":
            return KafkaLog(
                settings.bootstrap,
                prefix=settings.prefix,
                partitions=settings.partitions,
                replication=settings.replication,
            )
