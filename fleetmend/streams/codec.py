"""Payloads to bytes and back. Every record carries its kind and its newest event time as headers.

Called by both logs when they append, and by `fleetmend.streams.reader` when records are read.
Whatever lies in the log, `decode` raises nothing but BadInput: one bad record is a dead letter,
never a dead stage.
"""

import math
from collections.abc import Callable, Iterator, Mapping

from fleetmend.errors import BadInput
from fleetmend.model.coverage import Coverage
from fleetmend.model.entities import EntityId, TopologyChange, TopologyOp, split_entity_id
from fleetmend.model.events import Event
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Claim, Cut, Mark
from fleetmend.streams.arrow_write import encode_samples
from fleetmend.streams.bounds import TIME_S_MAX
from fleetmend.streams.cloudevents import CONTENT_TYPE, decode_event, encode_event
from fleetmend.streams.documents import DocumentCodec
from fleetmend.streams.port import Encoded, Payload, RawRecord, Record

RECORD_BYTES_MAX = 4_000_000
"""Bytes of one encoded record: a little less than the 4 MiB that our Kafka topics take."""

KIND_HEADER = "kind"
TIME_HEADER = "time_max"
CONTENT_HEADER = "content-type"

_RELATES = frozenset({TopologyOp.RELATION, TopologyOp.RELATION_GONE})


def _of_change(change: TopologyChange) -> Iterator[str]:
    """The entity, and what it is related to; an alias is any name."""
    yield change.entity
    if change.op in _RELATES:
        yield change.target


def _of_coverage(entry: Coverage) -> Iterator[str]:
    yield entry.entity
    if entry.node:
        yield entry.node


def _of_incident(incident: Incident) -> Iterator[str]:
    yield incident.entity
    yield from incident.affected
    yield from (piece.entity for piece in incident.evidence)
    for cause in incident.causes:
        yield cause.entity
        yield from cause.path


_TOPOLOGY = DocumentCodec(TopologyChange, _of_change)
_FINDING = DocumentCodec(Finding, lambda finding: (finding.entity,))
_COVERAGE = DocumentCodec(Coverage, _of_coverage)
_INCIDENT = DocumentCodec(Incident, _of_incident)
_CUT = DocumentCodec(Cut)
_CLAIM = DocumentCodec(Claim)
_MARK = DocumentCodec(Mark)


def _decode_samples(value: bytes) -> SampleBatch:
    """Loaded where something is read: who only writes, as a node agent does, needs no Arrow."""
    from fleetmend.streams.columns import decode_samples  # noqa: PLC0415

    return _named(decode_samples(value))


def _named(batch: SampleBatch) -> SampleBatch:
    """The batch, if all that it speaks of are entity ids. Raises BadInput."""
    for name in batch.entities:
        split_entity_id(EntityId(name))
    return batch


_DECODERS: dict[str, Callable[[bytes], Payload]] = {
    "SampleBatch": _decode_samples,
    "Event": decode_event,
    "TopologyChange": _TOPOLOGY.decode,
    "Finding": _FINDING.decode,
    "Coverage": _COVERAGE.decode,
    "Incident": _INCIDENT.decode,
    "Cut": _CUT.decode,
    "Claim": _CLAIM.decode,
    "Mark": _MARK.decode,
}


def newest_s(payload: Payload) -> float:
    """The newest event time inside a payload, Unix seconds: what moves a partition's watermark."""
    match payload:
        case SampleBatch():
            return float(payload.time_s.max())
        case Event():
            return payload.time_s
        case Incident():
            return payload.updated_at_s
        case Cut():
            return payload.reached_s
        case TopologyChange() | Finding() | Coverage() | Claim() | Mark():
            return payload.at_s


def encode(payload: Payload | Encoded) -> Encoded:
    """Headers and bytes of a payload; one that is encoded already stays as it is. Raises BadInput
    for what could not be read back, and for more than `RECORD_BYTES_MAX` bytes."""
    if isinstance(payload, Encoded):
        return payload
    value = _bytes(payload)
    kind = type(payload).__name__
    if len(value) > RECORD_BYTES_MAX:
        raise BadInput(f"{kind} of {len(value)} bytes", fix=f"At most {RECORD_BYTES_MAX}.")
    headers = {KIND_HEADER: kind, TIME_HEADER: repr(float(_checked_time(payload)))}
    if isinstance(payload, Event):
        headers[CONTENT_HEADER] = CONTENT_TYPE
    return Encoded(headers, value)


def decode(raw: RawRecord) -> Record:
    """The decoded record. Raises BadInput that names topic, partition and offset."""
    try:
        decoder = _DECODERS.get(_kind(raw.headers))
        if decoder is None:
            raise BadInput(f"unknown kind of record {_kind(raw.headers)[:64]!r}")
        payload = decoder(raw.value)
        _checked_time(payload)
    except BadInput as error:
        where = f"{raw.topic.value}/{raw.partition} offset {raw.offset}"
        raise BadInput(error.what, where=where, fix=error.fix) from error
    return Record(raw.topic, raw.partition, raw.offset, payload)


def _bytes(payload: Payload) -> bytes:
    match payload:
        case SampleBatch():
            return encode_samples(_named(payload))
        case Event():
            return encode_event(payload)
        case TopologyChange():
            return _TOPOLOGY.encode(payload)
        case Finding():
            return _FINDING.encode(payload)
        case Coverage():
            return _COVERAGE.encode(payload)
        case Incident():
            return _INCIDENT.encode(payload)
        case Cut():
            return _CUT.encode(payload)
        case Claim():
            return _CLAIM.encode(payload)
        case Mark():
            return _MARK.encode(payload)


def _kind(headers: Mapping[str, str]) -> str:
    """The record's kind; a CloudEvent of another producer is known by its content type."""
    kind = headers.get(KIND_HEADER, "")
    if not kind and headers.get(CONTENT_HEADER, "").partition(";")[0].strip() == CONTENT_TYPE:
        return "Event"
    return kind


def _checked_time(payload: Payload) -> float:
    """The newest time, refused when no tick can hold it."""
    time_s = newest_s(payload)
    if not (math.isfinite(time_s) and abs(time_s) <= TIME_S_MAX):
        raise BadInput(f"{time_s!r} is no Unix time in seconds")
    return time_s
