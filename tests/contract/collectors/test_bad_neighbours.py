"""Beside each kind of bad endpoint a good one keeps its schedule, and memory stays bounded.

The whole scraper on real sockets: its loop, its fetcher, its readers.
"""

import gzip
import re
import socket
import threading
from contextlib import ExitStack
from pathlib import Path

from collectors.prometheus import PrometheusCollector
from fleetmend.clock import SystemClock
from fleetmend.model.events import Event
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.collectors import CollectorsSettings
from tests.contract.collectors.test_fetch_over_sockets import (
    CHUNKED,
    HEAD,
    Reply,
    endless,
    hangs,
    http,
    identity,
    sends,
    server,
    serves,
)
from tests.unit.collectors.fakes import ListLetters, ListSink

__all__ = ["identity"]

INTERVAL_S, TIMEOUT_S = 0.5, 0.45
ROUNDS = 6
EACH = 3
"""Bad targets of each kind: all together more than the readers there are."""
MIB = 1_048_576
LINE = b"vllm:num_requests_running 3\n"


class Watch(ListSink):
    """Says when the good target has been heard often enough and every bad one has been named."""

    def __init__(self, targets: int) -> None:
        super().__init__()
        self.enough = threading.Event()
        self.heard_s: list[float] = []
        """Times of the readings of the good one."""
        self.words: dict[str, set[str]] = {}
        """What was told of each target."""
        self._targets = targets

    def samples(self, batch: SampleBatch, node: str) -> None:
        if node == "good" and "node.memory_total" in {batch.signals[c] for c in batch.signal}:
            self.heard_s.append(float(batch.time_s[0]))
        self._look()

    def event(self, event: Event) -> None:
        self.words.setdefault(event.node, set()).add(str(event.data["outcome"]))
        self._look()

    def _look(self) -> None:
        if len(self.heard_s) >= ROUNDS and len(self.words) == self._targets:
            self.enough.set()


def target(node: str, url: str) -> dict[str, object]:
    """A target of these tests."""
    rest = {"interval_s": INTERVAL_S, "timeout_s": TIMEOUT_S}
    return {"url": url, "kind": "node", "node": node, **rest}


def watched(targets: list[dict[str, object]], **limits: object) -> Watch:
    """What is heard of these targets until the good one was heard often enough."""
    settings = CollectorsSettings.model_validate({"targets": targets, "workers": 2, **limits})
    watch, stop = Watch(len(targets)), threading.Event()
    collector = PrometheusCollector(
        settings, cluster="c", sink=watch, clock=SystemClock(), dead_letters=ListLetters()
    )
    thread = threading.Thread(target=collector.run, args=(stop,), daemon=True)
    thread.start()
    try:
        assert watch.enough.wait(60), watch.words
    finally:
        stop.set()
        thread.join(30)
    assert not thread.is_alive()
    return watch


def most_memory(*, anew: bool = False) -> int:
    """Bytes of memory that this process had at most, or from now on."""
    if anew:
        Path("/proc/self/clear_refs").write_text("5")
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def closes(connection: socket.socket) -> None:
    """Ends within its answer."""
    connection.sendall(HEAD + b"Content-Length: 999\r\n\r\nhalf")
    connection.shutdown(socket.SHUT_RDWR)


KINDS: dict[str, tuple[Reply, str]] = {
    "hangs": (hangs, "timeout"),
    "head in drips": (endless(HEAD + b"X: ", b"a", 0.05), "timeout"),
    "body in drips": (endless(HEAD + b"Content-Length: 9999\r\n\r\n", b" ", 0.05), "timeout"),
    "head without end": (endless(HEAD, b"X: y\r\n" * 1000, 0.01), "oversize"),
    "body without end": (endless(HEAD + b"\r\n", LINE * 5000, 0.01), "oversize"),
    "chunks without end": (endless(CHUNKED, b"1\r\na\r\n" * 5000, 0.01), "oversize"),
    "gigabytes promised": (sends(HEAD + b"Content-Length: 9999999999\r\n\r\n"), "oversize"),
    # 16 MiB that weigh 16 KiB.
    "bomb": (sends(http(gzip.compress(b"a 1\n" * 4 * MIB), content_encoding="gzip")), "oversize"),
    "redirect": (sends(http(b"", status="302 F", location="http://127.0.0.1:1/")), "redirect"),
    "no HTTP": (sends(b"SSH-2.0-x\r\n"), "protocol"),
    "cut off": (closes, "unreachable"),
    "no metrics": (sends(http(b"<html>\n" * 500)), "unreadable"),
    "odd lines": (sends(http(b'{"odd",x="y"} 1\n' * 2000)), "ok"),
    "one series over and over": (sends(http(LINE * 5000)), "ok"),
    "numbers that are none": (sends(http(b"a NaN\nnode_load1 9223372036854775807\n")), "ok"),
}


def test_a_good_target_among_bad_ones_keeps_its_schedule_and_memory_its_bound(
    identity: Path,
) -> None:
    """All kinds at once, several of each: in one line, each round would take ten seconds."""
    with ExitStack() as stack:
        good = stack.enter_context(server(sends(http(b"node_memory_MemTotal_bytes 5\n"))))
        urls = {kind: stack.enter_context(server(reply)).url for kind, (reply, _) in KINDS.items()}
        urls["bad TLS"] = stack.enter_context(server(sends(http(LINE)), serves(identity))).url
        with socket.create_server(("127.0.0.1", 0)) as listener:
            urls["refuses"] = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        bad = [
            target(f"{kind} {n}", f"{url}?{n}") for kind, url in urls.items() for n in range(EACH)
        ]
        before = most_memory(anew=True)
        watch = watched(
            [*bad, target("good", good.url)], body_bytes_max=MIB, held_bytes_max=8 * MIB
        )
        grown = most_memory() - before
    words = {kind: word for kind, (_, word) in KINDS.items()}
    words |= {"bad TLS": "tls", "refuses": "refused"}
    for kind, word in words.items():
        for n in range(EACH):
            # A busy machine may be late for anything.
            assert watch.words[f"{kind} {n}"] <= {word, "timeout"}, kind
    assert {word for kind in words for word in watch.words[f"{kind} 0"]} >= set(words.values())
    took_s = watch.heard_s[ROUNDS - 1] - watch.heard_s[0]
    assert took_s < (ROUNDS - 1) * 3 * INTERVAL_S
    # Answers under way, and what pages of a megabyte become in the hands of three readers.
    assert grown < 8 * MIB + 3 * 24 * MIB
