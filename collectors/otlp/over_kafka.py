"""OTLP from the topics of an OpenTelemetry Collector's Kafka exporter, encoding `otlp_proto`.

One record is one export message. The exporter gives no keys, so order between partitions is not to
be had; times are in the points. A broker that is away is tried again; no other door waits for it.
"""

import threading
from collections.abc import Callable

from collectors.otlp.doors import Reason
from collectors.otlp.intake import Full, Intake
from fleetmend.clock import Clock
from fleetmend.errors import BadInput, StreamError
from fleetmend.settings.otlp import OtlpSettings
from fleetmend.streams.port import ForeignReader, ForeignRecord

_WAIT_S = 0.2
_BACK_OFF_S = 2.0
_FULL_S = 0.05


class KafkaDoor:
    """Follows the topics of the settings."""

    def __init__(
        self,
        settings: OtlpSettings,
        intake: Intake,
        clock: Clock,
        *,
        connect: Callable[[], ForeignReader],
    ) -> None:
        """`connect` raises StreamError when no broker answers."""
        self._settings, self._intake, self._clock = settings, intake, clock
        self._connect = connect
        self.failures = 0
        """Times that the broker was not to be had."""

    def run(self, stop: threading.Event) -> None:
        """Follow until `stop` is set."""
        reader: ForeignReader | None = None
        while not stop.is_set():
            try:
                reader = reader or self._connect()
                for record in reader.poll(_WAIT_S):
                    self._take(record, stop)
            except StreamError:
                self.failures += 1
                self._intake.refuse(self._settings.kafka_sender, Reason.UNREACHABLE)
                _close(reader)
                reader = None
                self._clock.wait(stop, _BACK_OFF_S)
        _close(reader)

    def _take(self, record: ForeignRecord, stop: threading.Event) -> None:
        sender, body = self._settings.kafka_sender, record.value
        if len(body) > self._settings.body_bytes_max:
            self._intake.refuse(sender, Reason.OVERSIZE)
            return
        logs = record.topic == self._settings.kafka_logs_topic
        while not stop.is_set():
            try:
                (self._intake.logs if logs else self._intake.metrics)(sender, body)
            except BadInput:
                self._intake.refuse(sender, Reason.UNREADABLE, payload=body)
            except Full:
                self._clock.wait(stop, _FULL_S)
                continue
            return


def _close(reader: ForeignReader | None) -> None:
    if reader is None:
        return
    try:
        reader.close()
    except StreamError:
        return  # it was no use before
