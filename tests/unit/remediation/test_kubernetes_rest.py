"""Calls to the API server when it does not answer as it should: one request, our own errors."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from fleetmend.errors import PortError, PortRefused, SettingsError
from fleetmend.ports.cluster import EvictionOutcome, PodState
from remediation.configmap import ConfigMapHalt
from remediation.kubernetes import KubernetesCluster
from remediation.kubernetes_rest import Rest, connect

POD = PodState("serving", "engine-0", "uid-0", "node-0", False, False, True)
Reply = tuple[int, bytes]


@contextmanager
def server(reply: Callable[[str, str], Reply]) -> Iterator[tuple[str, list[str]]]:
    """A server on loopback that answers by `reply(method, path)`; address and requests seen."""
    seen: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            seen.append(f"{self.command} {self.path}")
            status, body = reply(self.command, self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Retry-After", "1")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PATCH = answer

        def log_message(self, format: str, *args: object) -> None:
            """Silent."""

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{made.server_address[1]}", seen
    finally:
        made.shutdown()
        thread.join()
        made.server_close()


def rest(address: str, folder: Path, timeout_s: float = 5.0) -> Rest:
    path = folder / "kubeconfig"
    path.write_text(
        json.dumps(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "current-context": "c",
                "clusters": [{"name": "c", "cluster": {"server": address}}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
            }
        )
    )
    return connect(kubeconfig=str(path), timeout_s=timeout_s)


def status(message: str, **details: object) -> bytes:
    return json.dumps({"kind": "Status", "message": message, "details": details}).encode()


@pytest.mark.parametrize("code", [500, 502, 503, 504, 429, 408])
def test_what_may_pass_is_a_port_error_after_one_request(code: int, tmp_path: Path) -> None:
    """No hidden retries: how often something is asked is the executor's word alone."""
    with (
        server(lambda *_: (code, status("busy"))) as (address, seen),
        pytest.raises(PortError) as failed,
    ):
        rest(address, tmp_path).get("/api/v1/nodes/n")

    assert not isinstance(failed.value, PortRefused)
    assert seen == ["GET /api/v1/nodes/n"]


@pytest.mark.parametrize("code", [400, 401, 403, 409, 422])
def test_a_no_is_a_refusal_with_the_servers_words(code: int, tmp_path: Path) -> None:
    with (
        server(lambda *_: (code, status("because"))) as (address, seen),
        pytest.raises(PortRefused, match=f"{code} because"),
    ):
        rest(address, tmp_path).patch("/api/v1/nodes/n", [], content_type="application/json")

    assert len(seen) == 1


def test_nothing_there_is_none(tmp_path: Path) -> None:
    with server(lambda *_: (404, b"")) as (address, _):
        assert rest(address, tmp_path).get("/api/v1/nodes/n") is None


def test_a_server_that_never_answers_is_a_port_error_in_time(tmp_path: Path) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"

        with pytest.raises(PortError, match="no answer"):
            rest(address, tmp_path, timeout_s=0.2).get("/api/v1/nodes/n")


def test_a_server_that_is_not_there_is_a_port_error(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    with pytest.raises(PortError, match="no answer"):
        rest(f"http://127.0.0.1:{port}", tmp_path).get("/api/v1/nodes/n")


@pytest.mark.parametrize("body", [b"<html>proxy</html>", b"[1]", b"\xff"])
def test_a_page_of_a_proxy_is_no_object(body: bytes, tmp_path: Path) -> None:
    with server(lambda *_: (503, body)) as (address, _), pytest.raises(PortError, match="503"):
        rest(address, tmp_path).get("/api/v1/nodes/n")


def test_lists_are_read_to_their_end(tmp_path: Path) -> None:
    def reply(method: str, path: str) -> Reply:
        more = {} if "continue=next" in path else {"continue": "next"}
        return 200, json.dumps({"metadata": more, "items": [{"n": len(more)}]}).encode()

    with server(reply) as (address, seen):
        assert rest(address, tmp_path).list("/api/v1/nodes") == [{"n": 1}, {"n": 0}]
    assert len(seen) == 2


@pytest.mark.parametrize(
    ("reply", "outcome"),
    [
        ((201, b"{}"), EvictionOutcome.ACCEPTED),
        ((404, status("gone")), EvictionOutcome.GONE),
        ((409, status("uid differs")), EvictionOutcome.GONE),
        ((429, status("no", causes=[{"reason": "DisruptionBudget"}])), EvictionOutcome.BLOCKED),
    ],
)
def test_what_an_eviction_is_told(reply: Reply, outcome: EvictionOutcome, tmp_path: Path) -> None:
    with server(lambda *_: reply) as (address, seen):
        cluster = KubernetesCluster(rest(address, tmp_path), foreign_owners=())
        assert cluster.evict(POD, session="s") is outcome
    assert seen == ["POST /api/v1/namespaces/serving/pods/engine-0/eviction"]


def test_a_server_that_is_too_busy_is_no_blocked_eviction(tmp_path: Path) -> None:
    with server(lambda *_: (429, status("too many requests"))) as (address, _):
        cluster = KubernetesCluster(rest(address, tmp_path), foreign_owners=())
        with pytest.raises(PortError):
            cluster.evict(POD, session="s")


@pytest.mark.parametrize("name", ["../secrets/x", "a/b", "", "A", "x?y=1", "a" * 300, "n\n"])
def test_no_path_is_made_of_what_is_no_name(name: str, tmp_path: Path) -> None:
    with server(lambda *_: (200, b"{}")) as (address, seen):
        cluster = KubernetesCluster(rest(address, tmp_path), foreign_owners=())
        assert cluster.node(name) is None
        with pytest.raises(PortRefused):
            cluster.pods_on(name)
        with pytest.raises(PortRefused):
            cluster.evict(replace(POD, namespace=name), session="s")
    assert seen == []


@pytest.mark.parametrize(
    ("reply", "halted"),
    [
        ((200, b'{"data": {"halted": "false"}}'), False),
        ((200, b'{"data": {"halted": "true", "by": "ada"}}'), True),
        ((200, b'{"data": {"halted": "no"}}'), True),
        ((200, b"{}"), True),
        ((200, b'{"data": ["halted"]}'), True),
        ((404, b""), True),
        ((403, status("forbidden")), True),
        ((500, b""), True),
    ],
)
def test_a_halt_map_that_does_not_clearly_say_go_means_halted(
    reply: Reply, halted: bool, tmp_path: Path
) -> None:
    with server(lambda *_: reply) as (address, _):
        assert ConfigMapHalt(rest(address, tmp_path), "fleetmend/halt").state().halted is halted


@pytest.mark.parametrize("place", ["halt", "a/b/c", "/x", "x/"])
def test_a_halt_map_needs_namespace_and_name(place: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        ConfigMapHalt(rest("http://127.0.0.1:1", tmp_path), place)


def test_a_kubeconfig_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="nothing-here"):
        connect(kubeconfig=str(tmp_path / "nothing-here"), timeout_s=1.0)
    with pytest.raises(SettingsError, match="service account"):
        connect(kubeconfig="", timeout_s=1.0)


@pytest.mark.parametrize(
    "text",
    [
        "a: [",
        "hello",
        "- a",
        "!!python/object:os.system x",
        json.dumps({"current-context": "c", "clusters": [{"name": "c", "cluster": {"server": 5}}]}),
        "clusters: [{name: c, cluster: {server: 5}}]\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: []",
        "clusters: [{name: c, cluster: {server: 'https://[::x'}}]\ncurrent-context: c\n"
        "contexts: [{name: c, context: {cluster: c, user: u}}]\nusers: []",
    ],
)
def test_a_file_that_is_no_kubeconfig_is_named_without_its_content(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "kubeconfig"
    path.write_text(text)

    with pytest.raises(SettingsError, match="kubeconfig"):
        connect(kubeconfig=str(path), timeout_s=1.0)


@pytest.mark.parametrize("token", ["a\nb", "\u20ac"])
def test_a_token_that_cannot_be_sent_is_a_port_error(token: str, tmp_path: Path) -> None:
    rest("http://127.0.0.1:1", tmp_path)
    path = tmp_path / "kubeconfig"
    path.write_text(path.read_text().replace('"t"', json.dumps(token)))
    made = connect(kubeconfig=str(path), timeout_s=1.0)

    with pytest.raises(PortError, match="no answer"):
        made.get("/api/v1/nodes/n")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"metadata": []}',
        b'{"metadata": {"name": "n", "resourceVersion": "1"}, "spec": [1]}',
        b'{"metadata": {"name": "n", "resourceVersion": "1"}, "spec": {"taints": [{"value": 1}]}}',
        b'{"metadata": {"name": "n", "resourceVersion": "1"}, "status": {"conditions": [1]}}',
    ],
)
def test_an_answer_that_is_no_node_is_a_port_error(body: bytes, tmp_path: Path) -> None:
    with server(lambda *_: (200, body)) as (address, _):
        cluster = KubernetesCluster(rest(address, tmp_path), foreign_owners=())
        with pytest.raises(PortError, match="no node"):
            cluster.node("n")


@pytest.mark.parametrize(
    "body", [b'{"items": "x"}', b'{"items": [1]}', b'{"metadata": [1]}', b'{"items": [{}]}']
)
def test_an_answer_that_is_no_list_of_objects_is_a_port_error(body: bytes, tmp_path: Path) -> None:
    with server(lambda *_: (200, body)) as (address, _):
        cluster = KubernetesCluster(rest(address, tmp_path), foreign_owners=())
        with pytest.raises(PortError, match=r"no list|no node") as nodes:
            cluster.held_nodes()
        with pytest.raises(PortError, match=r"no list|no pod"):
            cluster.pods_on("n")
    assert not isinstance(nodes.value, PortRefused)


def test_a_refusal_with_odd_details_is_still_one(tmp_path: Path) -> None:
    for details in (b'{"details": [1]}', b'{"details": {"causes": [1]}}'):
        with (
            server(lambda *_, body=details: (429, body)) as (address, _),
            pytest.raises(PortError, match="429"),
        ):
            KubernetesCluster(rest(address, tmp_path), foreign_owners=()).evict(POD, session="s")
