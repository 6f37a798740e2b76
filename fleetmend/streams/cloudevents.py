"""Events on the wire: CloudEvents 1.0 JSON, structured mode.

Called by `fleetmend.streams.codec` alone. Times carry microseconds: finer digits of `time_s` do not
survive the wire. Extension attributes that we do not know are tolerated, as the specification
demands; everything that we do know is checked.
"""

import json
import math
from datetime import UTC, datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, split_entity_id
from fleetmend.model.events import Event, EventType
from fleetmend.streams.bounds import TIME_S_MAX

CONTENT_TYPE = "application/cloudevents+json"
"""Marks a record in this form whoever wrote it (CloudEvents Kafka binding, structured mode)."""
TYPE_PREFIX = "io.fleetmend."
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TEXT_CHARS_MAX = 4096
"""Characters in one attribute or data value: telemetry text is hostile."""
_DATA_KEYS_MAX = 64
_INT64_MAX = 2**63 - 1
_MICROSECOND = timedelta(microseconds=1)


class _Envelope(BaseModel):
    """What a CloudEvent must hold for us; unknown attributes are extensions and are dropped."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False)

    specversion: Literal["1.0"]
    id: str = Field(min_length=1, max_length=_TEXT_CHARS_MAX)
    source: str = Field(min_length=1, max_length=_TEXT_CHARS_MAX)
    type: str
    time: str = Field(max_length=64)
    subject: str = Field(min_length=1, max_length=_TEXT_CHARS_MAX)
    partitionkey: str = Field(default="", max_length=_TEXT_CHARS_MAX)
    datacontenttype: str = "application/json"
    data: dict[str, str | int | float | bool] = Field(
        default_factory=dict, max_length=_DATA_KEYS_MAX
    )
    data_base64: None = None
    """Binary data is not ours: refused."""


def encode_event(event: Event) -> bytes:
    """The event as CloudEvents JSON. Raises BadInput for what cannot be read back."""
    body: dict[str, object] = {
        "specversion": "1.0",
        "id": event.id,
        "source": event.source,
        "type": TYPE_PREFIX + event.type.value,
        "time": rfc3339(event.time_s),
        "subject": event.subject,
    }
    if event.node:
        body["partitionkey"] = event.node
    body |= {"datacontenttype": "application/json", "data": event.data}
    try:
        value = json.dumps(body, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
        encoded = value.encode()
    except (TypeError, ValueError) as error:
        raise BadInput(f"event {event.id!r} cannot be written as JSON: {error}") from error
    decode_event(encoded)
    return encoded


def decode_event(value: bytes) -> Event:
    """The event in `value`. Raises BadInput."""
    try:
        envelope = _Envelope.model_validate_json(value)
    except ValidationError as error:
        raise BadInput(f"not a CloudEvent of ours: {_first(error)}") from error
    if envelope.datacontenttype.partition(";")[0].strip().lower() != "application/json":
        raise BadInput(f"event data is {envelope.datacontenttype[:64]!r}", fix="Expected JSON.")
    if any(len(v) > _TEXT_CHARS_MAX for v in envelope.data.values() if isinstance(v, str)):
        raise BadInput("an event's data value is too long", fix=f"At most {_TEXT_CHARS_MAX}.")
    if any(
        type(v) is int and not -_INT64_MAX - 1 <= v <= _INT64_MAX for v in envelope.data.values()
    ):
        raise BadInput("an event's data value is too large", fix="At most 64 bits, signed.")
    try:
        kind = EventType(envelope.type.removeprefix(TYPE_PREFIX))
    except ValueError as error:
        raise BadInput(f"unknown event type {envelope.type[:64]!r}") from error
    split_entity_id(EntityId(envelope.subject))
    return Event(
        id=envelope.id,
        source=envelope.source,
        type=kind,
        time_s=unix_s(envelope.time),
        subject=EntityId(envelope.subject),
        node=envelope.partitionkey,
        data=envelope.data,
    )


def rfc3339(time_s: float) -> str:
    """UTC with microseconds, `2026-01-02T03:04:05.678901Z`. Raises BadInput outside its range."""
    if not (math.isfinite(time_s) and abs(time_s) <= TIME_S_MAX):
        raise BadInput(f"{time_s!r} is no Unix time in seconds")
    moment = _EPOCH + timedelta(seconds=time_s)
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")


def unix_s(text: str) -> float:
    """Unix seconds from RFC 3339 with any offset. Raises BadInput."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError as error:
        raise BadInput(f"{text!r} is no RFC 3339 time") from error
    if moment.tzinfo is None or "T" not in text.upper():
        raise BadInput(f"{text!r} has no date, time and offset")
    # Whole microseconds first: the float nearest to them is what a second round trip gives again.
    return ((moment - _EPOCH) // _MICROSECOND) / 1_000_000


def _first(error: ValidationError) -> str:
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    return f"{'.'.join(str(part) for part in first['loc'])[:200]}: {first['msg'][:200]}"
