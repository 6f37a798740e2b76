"""A process that appends events to a spool until it is killed; it says each number once the spool
has taken it. Started by `test_spool_kill.py`."""

import sys
from pathlib import Path

from fleetmend.clock import SystemClock
from fleetmend.errors import StreamError
from fleetmend.model.events import Event, EventType
from fleetmend.streams.port import Log, Outgoing
from fleetmend.streams.spool import SpooledLog
from fleetmend.streams.topics import Topic
from tests.contract.streams.spooled import NODE


def main(folder: Path, first: int) -> None:
    """Append without end."""
    spooled = SpooledLog(
        folder,
        open_log=_away,
        clock=SystemClock(),
        partitions=4,
        bytes_max=1 << 28,
        segment_bytes=65_536,
        retry_s=60.0,
    )
    number = first
    while True:
        made = Event(f"id-{number}", "s", EventType.CHANGE, 1e9 + number, NODE, node="n1")
        spooled.append([Outgoing(Topic.EVENTS, "n1", made)])
        sys.stdout.write(f"{number:>511}\n")  # few fit into a pipe: it cannot run far ahead
        sys.stdout.flush()
        number += 1


def _away() -> Log:
    raise StreamError("no log here")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
