"""The kubelet's pod-resources socket, version 1: which pod has been given which device.

`collectors.pods` asks. The kubelet speaks gRPC (`collectors.kubelet_call`), and the one message
that comes back is walked here: field numbers are those of
k8s.io/kubelet/pkg/apis/podresources/v1/api.proto. What pods are called is hostile input: bounded.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from collectors.kubelet_call import call
from fleetmend.clock import Clock
from fleetmend.errors import BadInput, PortError

_METHOD = "/v1.PodResourcesLister/List"
_NAME_MAX = 253
_DEVICES_MAX = 4096
_SHARES_MAX = 65_536
"""Times that a device is named: each container names each of its own, shared ones again."""
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

    def __init__(
        self, socket: Path, *, timeout_s: float, answer_bytes_max: int, clock: Clock
    ) -> None:
        """`timeout_s`: for the whole of an answer."""
        self._socket = socket
        self._timeout_s = timeout_s
        self._bytes_max = answer_bytes_max
        self._clock = clock

    def holders(self) -> Holders:
        """Who has which GPU now. Raises PortError when the kubelet does not answer, BadInput when
        the answer is none."""
        if not self._socket.exists():
            raise PortError("there is no socket", where=str(self._socket))
        answer = call(
            self._socket,
            _METHOD,
            timeout_s=self._timeout_s,
            answer_bytes_max=self._bytes_max,
            clock=self._clock,
        )
        return parse_holders(answer)


def parse_holders(message: bytes) -> Holders:
    """A `ListPodResourcesResponse`. Raises BadInput for what is none."""
    found: dict[str, dict[PodRef, None]] = {}
    named = 0
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
                    found.setdefault(uuid, {})[ref] = None
                    named += 1
                    if named > _SHARES_MAX or len(found) > _DEVICES_MAX:
                        raise BadInput(f"over {_DEVICES_MAX} devices or {_SHARES_MAX} shares")
    return {uuid: tuple(holders) for uuid, holders in found.items()}


def _text(message: bytes, field: int) -> str:
    """The last text of a field; empty when it is not there."""
    last = b""
    for text in _submessages(message, field):
        last = text
    return _decoded(last)


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
