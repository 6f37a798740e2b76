"""A kubelet's pod-resources socket, served by the real gRPC: what the agent's client is held to."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc


def field(number: int, content: bytes | str) -> bytes:
    """One length-delimited protobuf field."""
    raw = content.encode() if isinstance(content, str) else content
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def pod(namespace: str, name: str, devices: list[str], resource: str = "nvidia.com/gpu") -> bytes:
    """A `PodResources` with one container, with the fields around that a real kubelet sends."""
    given = field(1, resource) + b"".join(field(2, device) for device in devices)
    given += field(3, field(1, varint(0 << 3) + varint(0)))  # topology
    container = field(1, "engine") + field(2, given) + field(3, varint(7))  # and its CPUs
    return field(1, field(1, name) + field(2, namespace) + field(3, container))


class FakeKubelet:
    """Answers `List` with `answer`, or with an error."""

    def __init__(self) -> None:
        self.answer = b""
        self.error: grpc.StatusCode | None = None

    def list(self, request: bytes, context: Any) -> bytes:
        assert request == b""
        if self.error is not None:
            context.abort(self.error, "not now")
        return self.answer


@contextmanager
def served(kubelet: FakeKubelet, socket: Path) -> Iterator[None]:
    """Serve it on a socket."""
    handler = grpc.unary_unary_rpc_method_handler(kubelet.list)
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers(
        [grpc.method_handlers_generic_handler("v1.PodResourcesLister", {"List": handler})]
    )
    server.add_insecure_port(f"unix:{socket}")
    server.start()
    try:
        yield
    finally:
        server.stop(0).wait()
