"""What becomes of records that cannot be used: kept where people can read them, then skipped.

Called by `fleetmend.streams.reader` for bytes that are no record and by `fleetmend.streams.runner`
for times that cannot be.
"""

from fleetmend.ports.deadletters import DeadLetter
from fleetmend.streams.port import RawRecord

PAYLOAD_BYTES_MAX = 4096


def dead_letter(raw: RawRecord, error: str, *, at_s: float) -> DeadLetter:
    """A letter that names the record's place; its payload is cut."""
    return DeadLetter(
        at_s=at_s,
        source="stream",
        where=f"{raw.topic.value}/{raw.partition} offset {raw.offset}",
        error=error[:1000],
        payload=raw.value[:PAYLOAD_BYTES_MAX],
    )
