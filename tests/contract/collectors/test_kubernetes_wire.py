"""The adapter against a server that answers as an API server does when things go wrong."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from collectors.kube_fleet import Resource
from collectors.kube_watch import VersionGone, WatchType
from collectors.kubernetes import KubeApi
from fleetmend.errors import PortError, PortRefused
from fleetmend.settings.collectors import KubernetesSettings


class FakeServer(ThreadingHTTPServer):
    """Answers every request with the next scripted answer."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple[int, list[bytes]]] = []
        self.asked: list[dict[str, list[str]]] = []
        self.hold = threading.Event()
        """Ends the watches that stay open."""

    def will(self, status: int, *lines: object) -> None:
        """Script one answer; a line `None` keeps the connection open."""
        encoded = [b"" if line is None else json.dumps(line).encode() for line in lines]
        self.answers.append((status, encoded))


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    server: FakeServer

    def do_GET(self) -> None:
        self.server.asked.append(parse_qs(urlsplit(self.path).query))
        status, lines = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for line in lines:
            if not line:
                self.wfile.flush()
                self.server.hold.wait(60)
                return
            self.wfile.write(f"{len(line) + 1:x}\r\n".encode() + line + b"\n\r\n")
        self.wfile.write(b"0\r\n\r\n")

    def log_message(self, format: str, *args: Any) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[FakeServer]:
    """A server on loopback."""
    made = FakeServer()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    yield made
    made.hold.set()
    made.shutdown()
    made.server_close()
    thread.join(timeout=30)


@pytest.fixture
def api(server: FakeServer, tmp_path: Path) -> KubeApi:
    """The adapter with a kubeconfig that names the server."""
    path = tmp_path / "kubeconfig"
    url = f"http://127.0.0.1:{server.server_address[1]}"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "c", "cluster": {"server": url}}],
                "users": [{"name": "u", "user": {}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    return KubeApi(KubernetesSettings(kubeconfig=str(path)))


def listing(names: list[str], *, token: str = "") -> dict[str, Any]:
    """One page of a list."""
    return {
        "kind": "NodeList",
        "metadata": {"resourceVersion": "7", "continue": token},
        "items": [{"metadata": {"name": name}} for name in names],
    }


def node_event(kind: str, name: str) -> dict[str, Any]:
    """One line of a watch."""
    return {"type": kind, "object": {"metadata": {"name": name, "resourceVersion": "8"}}}


def test_pages_are_put_together(server: FakeServer, api: KubeApi) -> None:
    server.will(200, listing(["a", "b"], token="more"))  # noqa: S106 - a place in a list
    server.will(200, listing(["c"]))
    objects, since = api.list(Resource.NODES)
    assert [obj["metadata"]["name"] for obj in objects] == ["a", "b", "c"]
    assert since == "7"
    assert server.asked[1]["continue"] == ["more"]


def test_a_watch_asks_from_where_the_list_ended_and_for_bookmarks(
    server: FakeServer, api: KubeApi
) -> None:
    server.will(200, node_event("ADDED", "a"), node_event("DELETED", "a"))
    events = list(api.watch(Resource.NODES, "7", 30))
    assert [event.type for event in events] == [WatchType.ADDED, WatchType.DELETED]
    assert server.asked[0]["resourceVersion"] == ["7"]
    assert server.asked[0]["allowWatchBookmarks"] == ["true"]
    assert server.asked[0]["timeoutSeconds"] == ["30"]


@pytest.mark.parametrize("in_stream", [True, False])
def test_a_forgotten_version_says_so_in_both_of_its_forms(
    server: FakeServer, api: KubeApi, in_stream: bool
) -> None:
    gone = {"kind": "Status", "code": 410, "message": "too old resource version"}
    if in_stream:
        server.will(200, node_event("ADDED", "a"), {"type": "ERROR", "object": gone})
    else:
        server.will(410, gone)
    with pytest.raises(VersionGone):
        list(api.watch(Resource.NODES, "1", 30))


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, PortRefused),
        (403, PortRefused),
        (500, PortError),
        (429, PortError),
        (520, PortError),
    ],
)
def test_a_refusal_is_told_from_a_failure(
    server: FakeServer, api: KubeApi, status: int, error: type[PortError]
) -> None:
    server.will(status, {"kind": "Status", "code": status})
    with pytest.raises(PortError) as raised:
        api.list(Resource.PODS)
    assert type(raised.value) is error


def test_garbage_in_a_watch_is_a_failure(server: FakeServer, api: KubeApi) -> None:
    server.will(200, node_event("ADDED", "a"), ["what", "is", "this"])
    server.will(200, node_event("BETTER", "a"))
    server.will(200, {"type": "ERROR", "object": ["odd"]})
    server.will(200, {"type": "ERROR", "object": {"code": None}})
    for _ in range(4):
        with pytest.raises(PortError):
            list(api.watch(Resource.NODES, "1", 30))


@pytest.mark.parametrize("page", [["odd"], {"items": "odd"}, {"metadata": ["odd"]}])
def test_a_page_that_is_no_list_is_a_failure(
    server: FakeServer, api: KubeApi, page: object
) -> None:
    server.will(200, page)
    with pytest.raises(PortError, match="no list"):
        api.list(Resource.NODES)


def test_nobody_listening_is_a_failure(server: FakeServer, api: KubeApi) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(PortError):
        api.list(Resource.NODES)


def test_an_open_watch_ends_when_it_is_stopped_from_another_thread(
    server: FakeServer, api: KubeApi
) -> None:
    server.will(200, node_event("ADDED", "a"), None)
    came, errors = threading.Event(), []

    def follow() -> None:
        try:
            for _ in api.watch(Resource.NODES, "1", 300):
                came.set()
        except PortError as error:
            errors.append(error)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    assert came.wait(30)
    api.stop()
    thread.join(30)
    assert not thread.is_alive()


def test_without_credentials_there_is_no_adapter(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="no credentials"):
        KubeApi(KubernetesSettings(kubeconfig=str(tmp_path / "none")))


@pytest.mark.parametrize("text", ["a: [", "hello", "- a", "!!python/object:os.system x"])
def test_a_file_that_is_no_kubeconfig_is_named_without_its_content(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(PortError, match="no credentials: no kubeconfig") as raised:
        KubeApi(KubernetesSettings(kubeconfig=str(path)))
    assert "system" not in str(raised.value)
