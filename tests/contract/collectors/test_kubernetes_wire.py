"""The adapter against a server that answers as an API server does when things go wrong."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from collectors import kubernetes
from collectors.kube_feeds import Feed, Resource
from collectors.kube_reader import VersionGone, WatchType
from collectors.kubernetes import KubeApi
from fleetmend.errors import PortError, PortRefused
from fleetmend.settings.collectors import KubernetesSettings

NODES, PODS = Feed(Resource.NODES), Feed(Resource.PODS)


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
    line_end = b"\n"

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
            line += self.line_end
            self.wfile.write(f"{len(line):x}\r\n".encode() + line + b"\r\n")
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


def test_a_list_comes_page_by_page(server: FakeServer, api: KubeApi) -> None:
    server.will(200, listing(["a", "b"], token="more"))  # noqa: S106 - a place in a list
    server.will(200, listing(["c"]))
    pages = list(api.pages(NODES))
    assert [[obj["metadata"]["name"] for obj in page.objects] for page in pages] == [
        ["a", "b"],
        ["c"],
    ]
    assert [page.version for page in pages] == ["7", "7"]
    assert server.asked[0]["limit"] == [str(NODES.page)]
    assert server.asked[1]["continue"] == ["more"]


def test_a_watch_asks_from_where_the_list_ended_and_for_bookmarks(
    server: FakeServer, api: KubeApi
) -> None:
    server.will(200, node_event("ADDED", "a"), node_event("DELETED", "a"))
    events = list(api.watch(NODES, "7", 30))
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
        list(api.watch(NODES, "1", 30))


@pytest.mark.parametrize("in_stream", [True, False])
def test_a_server_that_is_behind_the_version_makes_us_list_again(
    server: FakeServer, api: KubeApi, in_stream: bool
) -> None:
    """One that was restored from a backup never reaches it: to wait would be for ever."""
    cause = {"message": "Too large resource version"}
    words = "Too large resource version: 900, current: 7"
    behind = {"kind": "Status", "code": 504, "message": words, "details": {"causes": [cause]}}
    if in_stream:
        server.will(200, {"type": "ERROR", "object": behind})
    else:
        server.will(504, behind)
    with pytest.raises(VersionGone):
        list(api.watch(NODES, "900", 30))


def test_a_token_of_a_list_that_has_expired_makes_us_list_again(
    server: FakeServer, api: KubeApi
) -> None:
    server.will(200, listing(["a"], token="more"))  # noqa: S106 - a place in a list
    server.will(410, {"kind": "Status", "code": 410, "reason": "Expired"})
    with pytest.raises(VersionGone):
        list(api.pages(NODES))


def test_events_that_report_nothing_unusual_stay_on_the_server(
    server: FakeServer, api: KubeApi
) -> None:
    feed = Feed(Resource.EVENTS)
    server.will(200, listing([]))
    server.will(200)
    list(api.pages(feed))
    list(api.watch(feed, "7", 30))
    assert [asked["fieldSelector"] for asked in server.asked] == [["type!=Normal"]] * 2


def test_a_watch_that_says_nothing_for_long_ends_without_a_failure(
    server: FakeServer, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection whose other end is gone says nothing for ever; the next one goes on."""
    monkeypatch.setattr(kubernetes, "_QUIET_S", 0.2)
    server.will(200, node_event("ADDED", "a"), None)
    assert [event.type for event in api.watch(NODES, "1", 300)] == [WatchType.ADDED]


def test_a_line_or_a_page_without_end_is_a_failure(
    server: FakeServer, api: KubeApi, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kubernetes, "_LINE_BYTES_MAX", 1000)
    monkeypatch.setattr(kubernetes, "_PAGE_BYTES_MAX", 1000)
    endless = json.dumps("x" * 5000).encode()
    server.answers.append((200, [endless[:3000], endless[3000:]]))
    monkeypatch.setattr(Handler, "line_end", b"")
    with pytest.raises(PortError, match="a line of more"):
        list(api.watch(NODES, "1", 30))
    server.will(200, listing(["x" * 5000]))
    with pytest.raises(PortError, match="a page of more"):
        list(api.pages(NODES))


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
        list(api.pages(PODS))
    assert type(raised.value) is error


def test_garbage_in_a_watch_is_a_failure(server: FakeServer, api: KubeApi) -> None:
    server.will(200, node_event("ADDED", "a"), ["what", "is", "this"])
    server.will(200, node_event("BETTER", "a"))
    server.will(200, {"type": "ERROR", "object": ["odd"]})
    server.will(200, {"type": "ERROR", "object": {"code": None}})
    for _ in range(4):
        with pytest.raises(PortError):
            list(api.watch(NODES, "1", 30))


@pytest.mark.parametrize("page", [["odd"], {"items": "odd"}, {"metadata": ["odd"]}])
def test_a_page_that_is_no_list_is_a_failure(
    server: FakeServer, api: KubeApi, page: object
) -> None:
    server.will(200, page)
    with pytest.raises(PortError, match="no list"):
        list(api.pages(NODES))


def test_nobody_listening_is_a_failure(server: FakeServer, api: KubeApi) -> None:
    server.shutdown()
    server.server_close()
    with pytest.raises(PortError):
        list(api.pages(NODES))


def test_an_open_watch_ends_when_it_is_stopped_from_another_thread(
    server: FakeServer, api: KubeApi
) -> None:
    server.will(200, node_event("ADDED", "a"), None)
    came, errors = threading.Event(), []

    def follow() -> None:
        try:
            for _ in api.watch(NODES, "1", 300):
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
