"""The doors: who may come in, in which form, how much, how long, and what is answered."""

import gzip
import json
import socket
import threading
import zlib
from collections.abc import Iterator
from pathlib import Path

import grpc
import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)

from collectors.otlp.doors import Reason, Refused, Senders, inflated
from collectors.otlp.intake import Full, Taken
from collectors.otlp.over_grpc import GrpcDoor
from collectors.otlp.over_http import HttpDoor
from collectors.otlp.plain import parse
from fleetmend.clock import SystemClock
from fleetmend.errors import BadInput, SettingsError
from fleetmend.settings.otlp import OtlpSenderSettings, OtlpSettings

TOKEN = "-".join(["right"] * 4)
MESSAGE = ExportMetricsServiceRequest()
MESSAGE.resource_metrics.add().scope_metrics.add().metrics.add(name="a")
BODY = bytes(MESSAGE.SerializeToString())
BINARY = {"Content-Type": "application/x-protobuf", "Authorization": f"Bearer {TOKEN}"}


class FakeIntake:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[tuple[str, bytes]] = []
        self.refused: list[tuple[str, str]] = []
        self.rejects = 0
        self.full = False

    def metrics(self, sender: str, body: bytes) -> Taken:
        if self.full:
            raise Full
        parse(body)
        self.taken.append((sender, body))
        return Taken(self.rejects, "late=1" if self.rejects else "")

    logs = metrics

    def feedback(self, sender: str, body: bytes) -> Taken:
        self.taken.append((sender, body))
        return Taken(self.rejects, "names=1" if self.rejects else "")

    def refuse(self, sender: str, reason: str, *, payload: bytes = b"") -> None:
        self.refused.append((sender, str(reason)))


@pytest.fixture
def otlp(tmp_path: Path) -> OtlpSettings:
    (tmp_path / "token").write_text(TOKEN + "\n")
    sender = OtlpSenderSettings(name="a", speaks_for="cluster", token_file=str(tmp_path / "token"))
    return OtlpSettings(
        senders=(sender,), body_bytes_max=65_536, request_timeout_s=2.0, requests_max=2
    )


@pytest.fixture
def intake() -> FakeIntake:
    return FakeIntake()


@pytest.fixture
def door(otlp: OtlpSettings, intake: FakeIntake) -> Iterator[HttpDoor]:
    server = HttpDoor(otlp, intake, Senders(otlp), SystemClock())  # type: ignore[arg-type]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join(5)


@pytest.fixture
def client(door: HttpDoor) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=f"http://127.0.0.1:{door.port}", timeout=5) as client:
        yield client


def test_a_binary_message_is_taken_and_answered_with_nothing(
    client: httpx.Client, intake: FakeIntake
) -> None:
    answer = client.post("/v1/metrics", content=BODY, headers=BINARY)
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer.headers["Content-Type"] == "application/x-protobuf"
    assert intake.taken == [("a", BODY)]


def test_what_was_not_taken_is_told_as_partial_success(
    client: httpx.Client, intake: FakeIntake
) -> None:
    intake.rejects = 3
    answer = client.post("/v1/metrics", content=BODY, headers=BINARY)
    told = ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert (told.rejected_data_points, told.error_message) == (3, "late=1")


def test_thumbs_are_taken_as_json_and_what_did_not_count_is_told(
    client: httpx.Client, intake: FakeIntake
) -> None:
    intake.rejects = 1
    headers = BINARY | {"Content-Type": "application/json"}
    answer = client.post("/v1/feedback", content=b'{"votes": []}', headers=headers)
    assert (answer.status_code, answer.json()) == (200, {"rejected": 1, "why": "names=1"})
    assert intake.taken == [("a", b'{"votes": []}')]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "application/json"}, 401),
        (BINARY, 415),
        (BINARY | {"Content-Type": "application/x-www-form-urlencoded"}, 415),
    ],
)
def test_thumbs_need_a_token_and_the_right_form(
    client: httpx.Client, intake: FakeIntake, headers: dict[str, str], status: int
) -> None:
    assert client.post("/v1/feedback", content=b"{}", headers=headers).status_code == status
    assert intake.taken == []


def test_json_is_taken_and_answered_as_json(client: httpx.Client, intake: FakeIntake) -> None:
    text = json.dumps({"resourceMetrics": [{"scopeMetrics": [{"metrics": [{"name": "a"}]}]}]})
    headers = BINARY | {"Content-Type": "application/json; charset=utf-8"}
    answer = client.post("/v1/metrics", content=text, headers=headers)
    assert (answer.status_code, answer.json()) == (200, {})
    assert intake.taken == [("a", BODY)]


def test_gzip_is_unpacked(client: httpx.Client, intake: FakeIntake) -> None:
    headers = BINARY | {"Content-Encoding": "gzip"}
    assert client.post("/v1/metrics", content=gzip.compress(BODY), headers=headers).is_success
    assert intake.taken == [("a", BODY)]


@pytest.mark.parametrize(
    ("headers", "content", "status", "reason"),
    [
        ({"Authorization": "Bearer wrong"}, BODY, 401, "unauthenticated"),
        ({"Authorization": ""}, BODY, 401, "unauthenticated"),
        ({"Content-Type": "text/plain"}, BODY, 415, "content_type"),
        ({"Content-Encoding": "br"}, BODY, 415, "encoding"),
        ({"Content-Encoding": "gzip"}, BODY, 400, "unreadable"),
        ({"Content-Encoding": "gzip"}, gzip.compress(bytes(10**7)), 413, "oversize"),
        ({}, bytes(65_537), 413, "oversize"),
        ({}, b"\xff\xff", 400, "unreadable"),
        ({"Content-Type": "application/json"}, b"[" * 60_000, 413, "oversize"),
        ({"Content-Type": "application/json"}, b"[" * 8_000, 400, "unreadable"),
        ({"Content-Type": "application/json"}, b'{"resourceMetrics": 3}', 400, "unreadable"),
    ],
)
def test_what_cannot_be_taken_is_refused_by_name(
    client: httpx.Client,
    intake: FakeIntake,
    headers: dict[str, str],
    content: bytes,
    status: int,
    reason: str,
) -> None:
    answer = client.post("/v1/metrics", content=content, headers=BINARY | headers)
    assert answer.status_code == status
    assert [told for _, told in intake.refused] == [reason]
    assert intake.taken == []


def test_a_log_that_is_behind_asks_to_come_again(client: httpx.Client, intake: FakeIntake) -> None:
    intake.full = True
    answer = client.post("/v1/metrics", content=BODY, headers=BINARY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")


def test_who_trickles_is_cut_off_and_more_connections_than_allowed_are_told_so(
    door: HttpDoor, client: httpx.Client, intake: FakeIntake
) -> None:
    slow = [socket.create_connection(("127.0.0.1", door.port), 5) for _ in range(2)]
    for each in slow:
        each.sendall(b"POST /v1/metrics HTTP/1.1\r\nContent-Le")
    assert client.post("/v1/metrics", content=BODY, headers=BINARY).status_code == 503
    clock = door.clock
    stop = threading.Event()
    for each in slow:
        each.settimeout(0.05)
        gone = False
        for _ in range(200):
            door.reap()
            try:
                gone = each.recv(10) == b""
            except TimeoutError:
                clock.wait(stop, 0.01)
                continue
            break
        assert gone
        each.close()


def test_grpc_takes_and_refuses_alike(otlp: OtlpSettings, intake: FakeIntake) -> None:
    door = GrpcDoor(otlp, intake, Senders(otlp))  # type: ignore[arg-type]
    door.start()
    path = "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export"
    try:
        with grpc.insecure_channel(f"127.0.0.1:{door.port}") as channel:
            call = channel.unary_unary(path)
            right = (("authorization", f"Bearer {TOKEN}"),)
            assert call(BODY, metadata=right, timeout=5) == b""
            codes = []
            for body, metadata in ((BODY, ()), (b"\xff", right), (bytes(70_000), right)):
                with pytest.raises(grpc.RpcError) as caught:
                    call(body, metadata=metadata, timeout=5)
                codes.append(caught.value.code().name)
            intake.full = True
            with pytest.raises(grpc.RpcError) as caught:
                call(BODY, metadata=right, timeout=5)
            codes.append(caught.value.code().name)
    finally:
        door.stop()
    assert codes == ["UNAUTHENTICATED", "INVALID_ARGUMENT", "RESOURCE_EXHAUSTED", "UNAVAILABLE"]
    assert intake.taken == [("a", BODY)]


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=300), st.integers(1, 200))
def test_unpacking_gives_the_same_or_refuses_and_never_more_than_allowed(
    content: bytes, bytes_max: int
) -> None:
    packed = gzip.compress(content)
    if len(content) > bytes_max:
        with pytest.raises(Refused) as caught:
            inflated(packed, "gzip", bytes_max=bytes_max)
        assert caught.value.reason is Reason.OVERSIZE
    else:
        assert inflated(packed, "gzip", bytes_max=bytes_max) == content


@given(st.binary(max_size=60))
@settings(max_examples=60, deadline=None)
def test_damaged_gzip_is_refused_by_name(content: bytes) -> None:
    with pytest.raises(Refused):
        inflated(zlib.compress(content)[:-1], "gzip", bytes_max=10_000)


def test_a_token_that_is_missing_or_short_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "short").write_text("abc")
    for name in ("short", "missing"):
        path = str(tmp_path / name)
        sender = OtlpSenderSettings(name="a", speaks_for="cluster", token_file=path)
        with pytest.raises(SettingsError):
            Senders(OtlpSettings(senders=(sender,)))


def test_what_protobuf_cannot_read_is_bad_input() -> None:
    with pytest.raises(BadInput):
        parse(b"\xff")
