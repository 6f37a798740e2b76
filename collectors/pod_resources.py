"""The kubelet's pod-resources socket, version 1: which pod has been given which device.

`collectors.pods` asks. The kubelet speaks gRPC; httpx with h2 speaks HTTP/2 over the socket, and
the one message that comes back is walked here: field numbers are those of
k8s.io/kubelet/pkg/apis/podresources/v1/api.proto. What pods are called is hostile input: bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from fleetmend.errors import BadInput, PortError

_METHOD = "http://kubelet/v1.PodResourcesLister/List"
_PREFIX_BYTES = 5
"""Before a gRPC message: whether it is compressed, and its length."""
_NAME_MAX = 253
_DEVICES_MAX = 4096
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_VENDOR = "nvidia.com/"


@dataclass(frozen=True, slots=True)
class PodRef:
    """A container that was given a device."""

    namespace: str
    pod: str
    container: str


Holders = dict[str, tuple[PodRef, ...]]
"""From the UUID of a GPU or MIG instance to who has it; several where it is shared in time."""


class PodResources:
    """A client of the socket; one thread uses it."""

    def __init__(self, socket: Path, *, timeout_s: float, answer_bytes_max: int) -> None:
        self._socket = socket
        self._bytes_max = answer_bytes_max
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket), http1=False, http2=True),
            timeout=timeout_s,
            headers={"content-type": "application/grpc", "te": "trailers"},
        )

    def holders(self) -> Holders:
        """Who has which GPU now. Raises PortError when the kubelet does not answer, BadInput when
        the answer is none."""
        if not self._socket.exists():
            raise PortError("there is no socket", where=str(self._socket))
        empty = bytes(_PREFIX_BYTES)  # an empty message, not compressed
        try:
            with self._client.stream("POST", _METHOD, content=empty) as response:
                status = response.headers.get("grpc-status", "0")
                if response.status_code != httpx.codes.OK or status != "0":
                    said = response.headers.get("grpc-message", "")[:_NAME_MAX]
                    text = f"HTTP {response.status_code}, gRPC status {status} {said}"
                    raise PortError(text, where=str(self._socket))
                body = self._bounded(response)
        except httpx.HTTPError as error:
            text = f"{type(error).__name__}: {error}"[:_NAME_MAX]
            raise PortError(text, where=str(self._socket)) from error
        return parse_holders(_message(body))

    def _bounded(self, response: httpx.Response) -> bytes:
        body = bytearray()
        for part in response.iter_raw():
            body += part
            if len(body) > self._bytes_max:
                raise BadInput(f"answer of over {self._bytes_max} bytes", where=str(self._socket))
        return bytes(body)

    def close(self) -> None:
        """Let go of the socket."""
        self._client.close()


def _message(body: bytes) -> bytes:
    """The one message of an answer. Raises BadInput."""
    if len(body) < _PREFIX_BYTES:
        raise BadInput("the kubelet answered without a message")
    length = int.from_bytes(body[1:_PREFIX_BYTES], "big")
    if body[0] != 0 or len(body) != _PREFIX_BYTES + length:
        raise BadInput("the kubelet's message is compressed or cut")
    return body[_PREFIX_BYTES:]


def parse_holders(message: bytes) -> Holders:
    """A `ListPodResourcesResponse`. Raises BadInput for what is none."""
    found: dict[str, list[PodRef]] = {}
    for pod in _submessages(message, 1):
        name, namespace = _text(pod, 1), _text(pod, 2)
        for container in _submessages(pod, 3):
            ref = PodRef(namespace, name, _text(container, 1))
            for devices in _submessages(container, 2):
                if not _text(devices, 1).startswith(_VENDOR):
                    continue
                for device in _submessages(devices, 2):
                    # A GPU shared in time is handed out as `GPU-<uuid>::<number>`.
                    uuid = _decoded(device).partition("::")[0]
                    holders = found.setdefault(uuid, [])
                    if ref not in holders:
                        holders.append(ref)
                    if len(found) > _DEVICES_MAX:
                        raise BadInput(f"over {_DEVICES_MAX} devices on one node")
    return {uuid: tuple(holders) for uuid, holders in found.items()}


def _text(message: bytes, field: int) -> str:
    """The last text of a field; empty when it is not there."""
    return _decoded(next(iter([*_submessages(message, field)][::-1]), b""))


def _decoded(text: bytes) -> str:
    return text[: 4 * _NAME_MAX].decode(errors="replace")[:_NAME_MAX]


def _submessages(message: bytes, wanted: int) -> Iterator[bytes]:
    """The byte fields with a number, others skipped. Raises BadInput."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        number, kind = tag >> 3, tag & 7
        if kind == _VARINT:
            _, at = _varint(message, at)
        elif kind == _BYTES:
            length, at = _varint(message, at)
            if at + length > len(message):
                raise BadInput("a field is longer than its message")
            if number == wanted:
                yield message[at : at + length]
            at += length
        elif kind in (_FIXED32, _FIXED64):
            at += 4 if kind == _FIXED32 else 8
        else:
            raise BadInput(f"wire type {kind} is none of protobuf's")


def _varint(message: bytes, at: int) -> tuple[int, int]:
    """A number and where it ends."""
    value = shift = 0
    while True:
        if at >= len(message) or shift > 63:
            raise BadInput("a number has no end")
        byte = message[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at
