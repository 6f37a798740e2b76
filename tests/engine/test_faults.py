"""A real vLLM broken in every way: what the collectors, the probe and detection say of it.

Each fault begins after a while of usual load, lasts until everything that must be reported stands
in the log, and a little longer: for what must not be said. `reports` says what.
"""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from deploy.parts.engine import Engine
from deploy.parts.engine_memory import MemoryGroup
from deploy.parts.process import PartFailed
from fleetmend.clock import SystemClock
from tests.engine.conftest import Kept
from tests.engine.load import Clients
from tests.engine.watch import Watch

_LEARN_S = 40.0
"""Seconds of usual load before a fault: by then detection expects what always comes and moves."""
_LOOK_S = 5.0
"""Seconds that are looked at beyond the last report that must come."""
_ROOM_BYTES = 1 << 20
"""What a group may use beyond what it uses already."""
_HUGE_BYTES = 1 << 29
_SQUEEZE_S = 90.0

Strike = Callable[[], AbstractContextManager[None]]
"""The fault begins as its block is entered, and is taken back at the end."""


class Scene:
    """One engine and what is kept of it."""

    def __init__(self, engine: Engine, kept: Kept, folder: Path) -> None:
        self.engine, self._kept, self._folder = engine, kept, folder

    def play(
        self,
        name: str,
        strike: Strike,
        *,
        clients: int = 0,
        learn_s: float = _LEARN_S,
        kernel: bool = False,
    ) -> Watch:
        """Break the engine under the load of so many steady clients; everything must be reported.
        The watch goes on."""
        watch = Watch(self.engine, self._folder, kernel=kernel)
        steady = Clients(self.engine.url, clients, prompt=16, tokens=160)
        try:
            watch.until(lambda: watch.told.last("engine.canary_ok") == 1, lambda: "an answer")
            watch.calm(learn_s)
            begun_s = watch.clock.now_s()
            with strike():
                watch.told_of(name, begun_s)
                watch.calm(_LOOK_S)
                self._kept.outcomes.append(watch.outcome(name, begun_s))
                if (path := self._kept.film(name)) is not None:
                    watch.film(path, begun_s=begun_s)
        except BaseException:
            watch.end()
            raise
        finally:
            steady.end()
        return watch

    def recovers(self, watch: Watch) -> None:
        """What was reported is over: answers come, pages are read, nothing is left in hand."""
        since_s = watch.clock.now_s()
        told = watch.told
        watch.until(
            lambda: any(told.sampled("engine.canary_ok", lambda value: value == 1, since_s)),
            lambda: "an answer after it",
        )
        watch.until(
            lambda: (
                told.last("engine.scrape_up") == 1 and told.last("engine.requests_running") == 0
            ),
            lambda: "a page of an idle engine",
        )
        watch.end()


@pytest.fixture
def scene(engine: Engine, kept: Kept, tmp_path: Path) -> Scene:
    return Scene(engine, kept, tmp_path)


@contextmanager
def doomed(kept: Kept, folder: Path, *arguments: str, group: Path | None = None) -> Iterator[Scene]:
    """An engine of its own, for a fault that it does not outlive."""
    engine = Engine(folder, "--max-num-seqs", "8", *arguments, group=group)
    try:
        yield Scene(engine, kept, folder)
    finally:
        engine.stop()


@contextmanager
def killed(pid: int) -> Iterator[None]:
    """SIGKILL; nothing can be taken back."""
    os.kill(pid, signal.SIGKILL)
    yield


@contextmanager
def asked(url: str, clients: int, *, prompt: int, tokens: int) -> Iterator[None]:
    """More clients; all of them are served in the end."""
    more = Clients(url, clients, prompt=prompt, tokens=tokens)
    try:
        yield
    finally:
        statuses = more.end()
    assert set(statuses) == {200}


@contextmanager
def squeezed(group: MemoryGroup, url: str) -> Iterator[None]:
    """The group may use no more than it does, and somebody sends a request larger than what the
    kernel can give back: it kills a process of the group."""
    group.limit(group.used() + _ROOM_BYTES)
    huge = threading.Thread(target=send_huge, args=(url,), daemon=True)
    huge.start()
    clock = SystemClock()
    deadline_s = clock.monotonic_s() + _SQUEEZE_S
    while not group.kills():
        assert clock.monotonic_s() < deadline_s, f"nobody was killed at {group.used()} bytes"
        clock.sleep(0.1)
    yield
    huge.join(_SQUEEZE_S)


def send_huge(url: str) -> None:
    """One request that nobody can want; its answer does not matter."""
    body = b'{"model": "tiny", "prompt": "' + b"x" * _HUGE_BYTES + b'"}'
    with suppress(httpx.HTTPError):
        httpx.post(f"{url}/v1/completions", content=body, timeout=_SQUEEZE_S, trust_env=False)


def test_a_core_that_stops_while_idle_is_seen_by_the_probe_alone(scene: Scene) -> None:
    engine = scene.engine
    scene.recovers(scene.play("core_stopped_idle", lambda: engine.stopped(engine.core)))


def test_a_core_that_stops_with_requests_in_hand_leaves_a_page_that_stands_still(
    scene: Scene,
) -> None:
    engine = scene.engine
    watch = scene.play("core_stopped_in_hand", lambda: engine.stopped(engine.core), clients=6)
    scene.recovers(watch)


def test_a_front_end_that_stops_answers_nobody(scene: Scene) -> None:
    engine = scene.engine
    watch = scene.play("front_stopped", lambda: engine.stopped(engine.front), clients=6)
    scene.recovers(watch)


def test_a_flood_of_long_prompts_is_a_queue_that_the_probe_does_not_join(scene: Scene) -> None:
    url = scene.engine.url
    watch = scene.play("long_prompts", lambda: asked(url, 24, prompt=1900, tokens=100), clients=3)
    scene.recovers(watch)


def test_a_killed_worker_is_told_by_the_log_first_and_by_everybody_in_the_end(
    kept: Kept, tmp_path: Path
) -> None:
    with doomed(kept, tmp_path) as scene:
        scene.play("worker_killed", lambda: killed(scene.engine.worker), clients=6).end()


def test_a_killed_core_is_told_by_everybody(kept: Kept, tmp_path: Path) -> None:
    with doomed(kept, tmp_path) as scene:
        scene.play("core_killed", lambda: killed(scene.engine.core), clients=6).end()


def test_a_tiny_cache_shows_as_preemptions(kept: Kept, tmp_path: Path) -> None:
    tiny = ("--max-model-len", "896", "--num-gpu-blocks-override", "8")
    with doomed(kept, tmp_path, *tiny) as scene:
        url = scene.engine.url
        watch = scene.play("tiny_cache", lambda: asked(url, 16, prompt=32, tokens=400), clients=2)
        scene.recovers(watch)


def test_a_memory_limit_is_told_by_the_kernel(kept: Kept, tmp_path: Path) -> None:
    try:
        group = MemoryGroup()
    except PartFailed as error:
        kept.left_out["memory_limit"] = str(error)
        pytest.skip(str(error))
    try:
        with doomed(kept, tmp_path, group=group.path) as scene:
            url = scene.engine.url
            strike: Strike = lambda: squeezed(group, url)  # noqa: E731
            scene.play("memory_limit", strike, clients=4, learn_s=20, kernel=True).end()
    finally:
        group.close()
