"""One gRPC call over a unix socket, by h2 alone: how `collectors.pod_resources` asks the kubelet.

A connection for each call: it comes every ten seconds, and a kubelet that was restarted has no
memory of an older one. A client library would cost the agent some 20 MB.
"""

import socket
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import (
    ConnectionTerminated,
    DataReceived,
    Event,
    ResponseReceived,
    StreamEnded,
    StreamReset,
    TrailersReceived,
)
from h2.exceptions import H2Error

from fleetmend.clock import Clock
from fleetmend.errors import BadInput, PortError

_PREFIX_BYTES = 5
"""Before a gRPC message: whether it is compressed, and its length."""
_SAID_MAX = 200
_CHUNK = 65_536


def call(
    path: Path, method: str, *, timeout_s: float, answer_bytes_max: int, clock: Clock
) -> bytes:
    """The message that answers an empty one. `method`: `/<service>/<name>`; `timeout_s` for the
    whole call. Raises PortError when nobody answers or the answer is an error, BadInput when it is
    too long or no message."""
    where = str(path)
    asking = _Asking(where, answer_bytes_max)
    until_s = clock.monotonic_s() + timeout_s
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(where)
            connection.sendall(asking.begin(method))
            while not asking.ended:
                left_s = until_s - clock.monotonic_s()
                if left_s <= 0:
                    raise TimeoutError("no whole answer")
                connection.settimeout(left_s)
                connection.sendall(asking.take(connection.recv(_CHUNK)))
    except TimeoutError as error:
        raise PortError(f"Timeout after {timeout_s:g} s", where=where) from error
    except (OSError, H2Error) as error:
        text = f"{type(error).__name__}: {error}"[:_SAID_MAX]
        raise PortError(text, where=where) from error
    return asking.message()


class _Asking:
    """The state of a call."""

    def __init__(self, where: str, bytes_max: int) -> None:
        self.ended = False
        self._where = where
        self._bytes_max = bytes_max
        self._http = H2Connection(H2Configuration(client_side=True, header_encoding="utf-8"))
        self._told: dict[str, str] = {}
        """Headers and trailers."""
        self._body = bytearray()

    def begin(self, method: str) -> bytes:
        """What is sent first."""
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":authority": "kubelet",
            ":path": method,
            "te": "trailers",
            "content-type": "application/grpc",
        }
        self._http.initiate_connection()
        self._http.send_headers(1, list(headers.items()))
        self._http.send_data(1, bytes(_PREFIX_BYTES), end_stream=True)  # empty, not compressed
        return self._http.data_to_send()

    def take(self, data: bytes) -> bytes:
        """What came; what is to be sent because of it. Raises PortError, BadInput, H2Error."""
        if not data:
            raise PortError("the connection was closed before the answer", where=self._where)
        for event in self._http.receive_data(data):
            self._note(event)
        return self._http.data_to_send()

    def _note(self, event: Event) -> None:
        match event:
            case ResponseReceived() | TrailersReceived():
                self._told |= {str(name): str(value) for name, value in event.headers}
            case DataReceived():
                self._body += event.data
                if len(self._body) > self._bytes_max:
                    raise BadInput(f"answer of over {self._bytes_max} bytes", where=self._where)
                self._http.acknowledge_received_data(event.flow_controlled_length, 1)
            case StreamReset() | ConnectionTerminated():
                raise PortError(f"the call was ended: {event.error_code}", where=self._where)
            case StreamEnded():
                self.ended = True

    def message(self) -> bytes:
        """The one message of the answer. Raises PortError for an error, BadInput for no message."""
        http, grpc = self._told.get(":status", ""), self._told.get("grpc-status", "0")
        if (http, grpc) != ("200", "0"):
            said = self._told.get("grpc-message", "")[:_SAID_MAX]
            raise PortError(f"HTTP {http}, gRPC status {grpc} {said}", where=self._where)
        if len(self._body) < _PREFIX_BYTES:
            raise BadInput("the kubelet answered without a message", where=self._where)
        length = int.from_bytes(self._body[1:_PREFIX_BYTES], "big")
        if self._body[0] != 0 or len(self._body) != _PREFIX_BYTES + length:
            raise BadInput("the kubelet's message is compressed or cut", where=self._where)
        return bytes(self._body[_PREFIX_BYTES:])
