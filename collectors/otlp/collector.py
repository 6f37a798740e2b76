"""The OTLP collector as one loop: opens the doors of the settings, and sends what they took in.

The composition root runs it in the role `collector`.
"""

import threading
from collections.abc import Callable
from functools import partial

from collectors.otlp.doors import Senders
from collectors.otlp.intake import Intake
from collectors.otlp.over_grpc import GrpcDoor
from collectors.otlp.over_http import HttpDoor
from collectors.otlp.over_kafka import KafkaDoor
from fleetmend.clock import Clock
from fleetmend.settings.otlp import OtlpSettings
from fleetmend.streams.port import ForeignReader

_POLL_S = 0.05
_JOIN_S = 5.0


class OtlpCollector:
    """Doors and intake together."""

    def __init__(
        self,
        settings: OtlpSettings,
        intake: Intake,
        clock: Clock,
        *,
        foreign: Callable[[], ForeignReader],
    ) -> None:
        """`foreign` opens the Kafka topics of the settings. Raises SettingsError for a token that
        cannot be read."""
        self._settings, self._intake, self._clock = settings, intake, clock
        self._foreign = foreign
        self._senders = Senders(settings)
        self.http: HttpDoor | None = None
        self.grpc: GrpcDoor | None = None
        self.opened = threading.Event()

    def run(self, stop: threading.Event) -> None:
        """Receive until `stop` is set. Raises SettingsError when an address cannot be had,
        StreamError when the sink does; the next run goes on."""
        threads: list[threading.Thread] = []
        ended = threading.Event()
        try:
            self._open(threads, ended)
            self._intake.announce()
            self.opened.set()
            while not stop.is_set():
                self._intake.poll()
                if self.http is not None:
                    self.http.reap()
                self._clock.wait(stop, _POLL_S)
        finally:
            ended.set()
            self._close()
            for thread in threads:
                thread.join(_JOIN_S)

    def _open(self, threads: list[threading.Thread], ended: threading.Event) -> None:
        settings = self._settings

        def start(name: str, run: Callable[[], None]) -> None:
            threads.append(threading.Thread(target=run, name=name, daemon=True))
            threads[-1].start()

        if settings.http_port:
            self.http = HttpDoor(settings, self._intake, self._senders, self._clock)
            start("otlp-http", self.http.serve_forever)
        if settings.grpc_port:
            self.grpc = GrpcDoor(settings, self._intake, self._senders)
            self.grpc.start()
        if settings.kafka_bootstrap:
            kafka = KafkaDoor(settings, self._intake, self._clock, connect=self._foreign)
            start("otlp-kafka", partial(kafka.run, ended))

    def _close(self) -> None:
        if self.http is not None:
            self.http.shutdown()
            self.http.server_close()
            self.http = None
        if self.grpc is not None:
            self.grpc.stop()
            self.grpc = None
