"""OTLP over gRPC: the Export calls of metrics and logs. Messages stay bytes until the decoder."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc

from collectors.otlp.answers import binary, logs_answer, metrics_answer
from collectors.otlp.doors import Reason, Refused, Senders
from collectors.otlp.intake import Full, Intake, Taken
from fleetmend.errors import BadInput, SettingsError
from fleetmend.settings.otlp import OtlpSettings

_METRICS = "opentelemetry.proto.collector.metrics.v1.MetricsService"
_LOGS = "opentelemetry.proto.collector.logs.v1.LogsService"


class GrpcDoor:
    """The server."""

    def __init__(self, settings: OtlpSettings, intake: Intake, senders: Senders) -> None:
        """Raises SettingsError when the address cannot be had."""
        self._intake, self._senders = intake, senders
        self._server = grpc.server(
            ThreadPoolExecutor(settings.requests_max, "otlp-grpc"),
            maximum_concurrent_rpcs=settings.requests_max,
            options=[
                # The bound holds for a message after it was unpacked, too.
                ("grpc.max_receive_message_length", settings.body_bytes_max),
                ("grpc.max_connection_idle_ms", 300_000),
                ("grpc.http2.max_ping_strikes", 2),
                ("grpc.so_reuseport", 0),
            ],
        )
        for service, take, answer in (
            (_METRICS, intake.metrics, lambda taken: binary(metrics_answer(taken))),
            (_LOGS, intake.logs, lambda taken: binary(logs_answer(taken))),
        ):
            method = grpc.unary_unary_rpc_method_handler(self._call(take, answer))
            handler = grpc.method_handlers_generic_handler(service, {"Export": method})
            self._server.add_generic_rpc_handlers((handler,))
        host = f"[{settings.host}]" if ":" in settings.host else settings.host
        try:
            self.port = int(self._server.add_insecure_port(f"{host}:{settings.grpc_port}"))
        except RuntimeError as error:
            raise SettingsError(str(error), where="collectors.otlp.grpc_port") from error

    def start(self) -> None:
        """Begin to listen."""
        self._server.start()

    def stop(self) -> None:
        """End, giving calls under way a second."""
        self._server.stop(1.0).wait(3.0)

    def _call(
        self, take: Callable[[str, bytes], Taken], answer: Callable[[Taken], bytes]
    ) -> Callable[[bytes, Any], bytes]:
        def call(body: bytes, context: Any) -> bytes:
            sender = ""
            shown = dict(context.invocation_metadata()).get("authorization", "")
            try:
                sender = self._senders.name(str(shown))
                return answer(take(sender, body))
            except Refused as refused:
                self._intake.refuse(sender, refused.reason)
                code, what = grpc.StatusCode.UNAUTHENTICATED, refused.what
            except BadInput as error:
                self._intake.refuse(sender, Reason.UNREADABLE, payload=body)
                code, what = grpc.StatusCode.INVALID_ARGUMENT, error.what
            except Full:
                self._intake.refuse(sender, Reason.BUSY)
                # The standard lets senders come again after this one.
                code, what = grpc.StatusCode.UNAVAILABLE, "the log or the fleet is behind"
            context.abort(code, what)
            raise AssertionError("abort raises")

        return call
