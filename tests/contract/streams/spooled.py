"""What the tests of the spool on real parts share: how it is opened, what lies in a log."""

from pathlib import Path

from fleetmend.clock import SystemClock
from fleetmend.model.entities import EntityKind, entity_id
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.streams import StreamsSettings
from fleetmend.streams.codec import decode
from fleetmend.streams.engines import open_log
from fleetmend.streams.port import Log
from fleetmend.streams.spool import SpooledLog
from fleetmend.streams.topics import Topic

NODE = entity_id("c", EntityKind.NODE, "n1")


def spooled(folder: Path, streams: StreamsSettings) -> SpooledLog:
    """A spool before a real log."""
    clock = SystemClock()
    return SpooledLog(
        folder,
        open_log=lambda: open_log(streams, clock),
        clock=clock,
        partitions=streams.partitions,
        bytes_max=1 << 28,
        segment_bytes=65_536,
        retry_s=0.2,
    )


def event_ids(log: Log) -> list[str]:
    """Ids of all events of a log, in the order of its one partition of them."""
    found: list[str] = []
    for place in log.partitions(Topic.EVENTS):
        at = 0
        while at < log.end(place):
            records = log.read({place: at}, limit=500, wait_s=5.0)
            at += len(records)
            payloads = [decode(record).payload for record in records]
            found += [payload.id for payload in payloads if isinstance(payload, Event)]
    return found


def samples_of(log: Log) -> list[float]:
    """Values of all samples of a log, in the order of its one partition of them."""
    found: list[float] = []
    for place in log.partitions(Topic.SAMPLES):
        at = 0
        while at < log.end(place):
            records = log.read({place: at}, limit=500, wait_s=5.0)
            at += len(records)
            for payload in (decode(record).payload for record in records):
                if isinstance(payload, SampleBatch):
                    found += payload.value.tolist()
    return found
