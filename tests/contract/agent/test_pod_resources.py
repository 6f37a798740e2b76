"""The agent's client against a socket that the real gRPC serves."""

import socket
import threading
from pathlib import Path

import grpc
import pytest

from collectors.pod_resources import PodRef, PodResources
from collectors.pods import Pods
from fleetmend.clock import ManualClock, SystemClock
from fleetmend.errors import BadInput, PortError
from fleetmend.settings.agent import PodsSettings
from tests.contract.agent.kubelet import FakeKubelet, pod, served


def client(path: Path, timeout_s: float = 10.0, most: int = 1 << 22) -> PodResources:
    return PodResources(path, timeout_s=timeout_s, answer_bytes_max=most, clock=SystemClock())


def test_the_kubelets_word_is_read_as_it_was_written(tmp_path: Path) -> None:
    kubelet, path = FakeKubelet(), tmp_path / "kubelet.sock"
    kubelet.answer = b"".join(
        (
            pod("inference", "llama-0", ["GPU-a", "GPU-b"]),
            pod("team", "shared-1", ["GPU-c::0"]),
            pod("team", "shared-2", ["GPU-c::7"]),
            pod("team", "slice", ["MIG-d"], "nvidia.com/mig-1g.18gb"),
            pod("net", "router", ["0000:3b:00.0"], "vendor.com/nic"),
        )
    )
    with served(kubelet, path):
        asking = client(path)
        holders = asking.holders()
        assert asking.holders() == holders, "it can be asked again"

    assert holders == {
        "GPU-a": (PodRef("inference", "llama-0", "engine"),),
        "GPU-b": (PodRef("inference", "llama-0", "engine"),),
        "GPU-c": (PodRef("team", "shared-1", "engine"), PodRef("team", "shared-2", "engine")),
        "MIG-d": (PodRef("team", "slice", "engine"),),
    }


def test_a_node_without_pods_is_an_answer(tmp_path: Path) -> None:
    path = tmp_path / "kubelet.sock"
    with served(FakeKubelet(), path):
        asking = client(path)
        assert asking.holders() == {}


def test_thousands_of_containers_come_in_many_frames(tmp_path: Path) -> None:
    kubelet, path = FakeKubelet(), tmp_path / "kubelet.sock"
    kubelet.answer = b"".join(pod("n" * 60, f"p-{n}", [f"GPU-{n % 8}::{n}"]) for n in range(3000))
    with served(kubelet, path):
        asking = client(path)
        assert sum(len(refs) for refs in asking.holders().values()) == 3000
        strict = client(path, most=65_536)
        with pytest.raises(BadInput, match="over 65536 bytes"):
            strict.holders()


def test_an_error_of_the_kubelet_is_told_by_its_status(tmp_path: Path) -> None:
    kubelet, path = FakeKubelet(), tmp_path / "kubelet.sock"
    kubelet.error = grpc.StatusCode.UNAVAILABLE
    with served(kubelet, path):
        asking = client(path)
        with pytest.raises(PortError, match="gRPC status 14 not now"):
            asking.holders()


def test_no_socket_is_a_fact(tmp_path: Path) -> None:
    with pytest.raises(PortError, match="there is no socket"):
        client(tmp_path / "none.sock").holders()


def test_a_kubelet_that_hangs_is_left_at_its_time(tmp_path: Path) -> None:
    path = tmp_path / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        asking = client(path, timeout_s=0.3)
        with pytest.raises(PortError, match="Timeout"):
            asking.holders()


def test_a_kubelet_that_trickles_is_left_at_its_time_too(tmp_path: Path) -> None:
    """Each byte would start a timeout of its own anew."""
    path, stop = tmp_path / "kubelet.sock", threading.Event()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def trickle() -> None:
            connection, _ = listening.accept()
            with connection:
                while not stop.wait(0.05):
                    try:
                        connection.sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))  # empty SETTINGS
                    except OSError:
                        return

        trickling = threading.Thread(target=trickle, daemon=True)
        trickling.start()
        clock = SystemClock()
        began_s = clock.monotonic_s()
        with pytest.raises(PortError, match="Timeout"):
            client(path, timeout_s=0.5).holders()
        took_s = clock.monotonic_s() - began_s
        stop.set()
        trickling.join()
    assert took_s < 3.0


@pytest.mark.parametrize("said", [b"HTTP/1.1 200 OK\r\n\r\n", b"\0" * 64, b""])
def test_what_speaks_no_http2_is_told(tmp_path: Path, said: bytes) -> None:
    path = tmp_path / "kubelet.sock"
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def answer() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.sendall(said)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(4096):
                    pass

        answering = threading.Thread(target=answer, daemon=True)
        answering.start()
        with pytest.raises(PortError):
            client(path, timeout_s=5.0).holders()
        answering.join()


def test_pods_forget_what_nobody_tells_any_more(tmp_path: Path) -> None:
    kubelet, path = FakeKubelet(), tmp_path / "kubelet.sock"
    kubelet.answer = pod("inference", "llama-0", ["GPU-a"])
    pods = Pods(PodsSettings(socket=str(path)), clock=ManualClock())
    assert pods.holders("GPU-a") is None
    with served(kubelet, path):
        pods.refresh()
        assert pods.holders("GPU-a") == (PodRef("inference", "llama-0", "engine"),)
        assert pods.holders("GPU-z") == ()
        assert pods.failing == ""
    path.unlink(missing_ok=True)
    pods.refresh()
    assert pods.holders("GPU-a") is None
    assert pods.failing
    stop = threading.Event()
    stop.set()
    pods.run(stop)
