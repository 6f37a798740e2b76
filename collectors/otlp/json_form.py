"""OTLP's JSON form, brought to the binary one: `collectors.otlp.over_http` calls it.

JSON is for small senders (a page in a browser, a script); it is read by protobuf's own JSON parser.
"""

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)

from fleetmend.errors import BadInput

_DEPTH_MAX = 50


def metrics_from_json(body: bytes) -> bytes:
    """A metrics message in the binary form. Raises BadInput."""
    return _binary(body, ExportMetricsServiceRequest())


def logs_from_json(body: bytes) -> bytes:
    """A logs message in the binary form. Raises BadInput."""
    return _binary(body, ExportLogsServiceRequest())


def _binary(body: bytes, message: Message) -> bytes:
    try:
        json_format.Parse(
            body.decode(), message, ignore_unknown_fields=True, max_recursion_depth=_DEPTH_MAX
        )
        return bytes(message.SerializeToString())
    except (json_format.ParseError, UnicodeDecodeError, ValueError, TypeError) as error:
        raise BadInput("not an OTLP message in JSON") from error
    except (AttributeError, RecursionError) as error:
        # The library trips over lists where it expects objects, and json over deep nests.
        raise BadInput("not an OTLP message in JSON") from error
