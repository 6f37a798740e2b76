"""What a door answers: OTLP's partial success, in both forms."""

import json

from google.protobuf import json_format
from google.protobuf.message import Message
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceResponse,
)

from collectors.otlp.intake import Taken


def metrics_answer(taken: Taken) -> Message:
    """The answer to a metrics message; empty when everything was taken."""
    answer = ExportMetricsServiceResponse()
    if taken.rejected:
        answer.partial_success.rejected_data_points = taken.rejected
        answer.partial_success.error_message = taken.why
    return answer


def logs_answer(taken: Taken) -> Message:
    """The answer to a logs message."""
    answer = ExportLogsServiceResponse()
    if taken.rejected:
        answer.partial_success.rejected_log_records = taken.rejected
        answer.partial_success.error_message = taken.why
    return answer


def feedback_answer(taken: Taken) -> bytes:
    """The answer to thumbs of people: how many did not count, and why."""
    return json.dumps({"rejected": taken.rejected, "why": taken.why}).encode()


def binary(answer: Message) -> bytes:
    """The binary form."""
    return bytes(answer.SerializeToString())


def text(answer: Message) -> bytes:
    """The JSON form."""
    return str(json_format.MessageToJson(answer, indent=None)).encode()
