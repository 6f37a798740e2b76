"""Lines in a logs message: `collectors.otlp.log_reader` looks for signatures in them."""

from collections.abc import Iterator, Mapping

from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest

from collectors.otlp.plain import labels_of, text_of
from collectors.signatures import SEARCHED_MAX
from fleetmend.errors import BadInput

_LINES_MAX = 64
"""Lines of one record: a trace of calls is longer, and its signature stands at its end or begin."""


def lines_of(body: bytes) -> Iterator[tuple[Mapping[str, str], int, str]]:
    """Resource and record attributes, time in nanoseconds (0: untold) and text of each line.

    Raises BadInput before the first one when the body is no logs message.
    """
    message = ExportLogsServiceRequest()
    try:
        message.MergeFromString(body)
    except DecodeError as error:
        raise BadInput("not an OTLP logs message") from error
    for resource in message.resource_logs:
        attributes = labels_of(resource.resource.attributes)
        for scope in resource.scope_logs:
            for record in scope.log_records:
                text = text_of(record.body)
                if not text:
                    continue
                time_ns = record.time_unix_nano or record.observed_time_unix_nano
                lines = text.splitlines()
                half = _LINES_MAX // 2
                for line in lines if len(lines) <= _LINES_MAX else lines[:half] + lines[-half:]:
                    yield attributes, time_ns, line[:SEARCHED_MAX]
