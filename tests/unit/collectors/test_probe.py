"""The canary probe against a real server: what it sees, whom it spares, what it tells."""

import random
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from collectors.probe.collector import ProbeCollector
from collectors.probe.load import Loads
from collectors.probe.references import References
from detection.rules.tables import signature_policy
from fleetmend.clock import SystemClock
from fleetmend.errors import StreamError
from fleetmend.model.entities import EntityKind, RelationKind, entity_id
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.samples import SampleBatch
from fleetmend.settings.probe import ProbeSettings
from tests.unit.collectors.engine_api import Call, EngineApi, answers, hangs, says
from tests.unit.collectors.fakes import ListSink

ENGINE = entity_id("c", EntityKind.ENGINE, "e")
PATIENCE_S = 20.0


class WaitingSink(ListSink):
    """A sink that a test can wait at."""

    def __init__(self) -> None:
        super().__init__()
        self._changed = threading.Condition()
        self.fails = False

    def event(self, event: Event) -> None:
        with self._changed:
            if self.fails:
                raise StreamError("away")
            super().event(event)
            self._changed.notify_all()

    def mark(self, at_s: float) -> None:
        with self._changed:
            super().mark(at_s)
            self._changed.notify_all()

    def until(self, holds: Callable[[], bool]) -> None:
        """Wait until this holds."""
        with self._changed:
            assert self._changed.wait_for(holds, PATIENCE_S), [e.data for e in self.events[-5:]]


class Bench:
    """A probe of one engine, run in a thread."""

    def __init__(self, api: EngineApi, path: Path, **settings: object) -> None:
        self.sink = WaitingSink()
        self.loads = Loads()
        self.clock = SystemClock()
        fields: dict[str, object] = {
            "replicas": [{"url": api.url, "engine": "e", "interval_s": 0.05, "timeout_s": 10}],
            "retry_s": 0.05,
            "backoff_max_s": 0.1,
            "load_fresh_s": 100,
            **settings,
        }
        self.settings = ProbeSettings.model_validate(fields)
        self.path = path
        self.stop = threading.Event()
        self.thread: threading.Thread | None = None

    def collector(self) -> ProbeCollector:
        """A new one, as after a restart."""
        return ProbeCollector(
            self.settings,
            cluster="c",
            sink=self.sink,
            clock=self.clock,
            rng=random.Random(1),
            loads=self.loads,
            references=References(self.path),
        )

    def start(self) -> None:
        """Run until the test ends."""
        self.thread = threading.Thread(target=self.collector().run, args=(self.stop,), daemon=True)
        self.thread.start()

    def end(self) -> None:
        """Stop, and wait for the end."""
        self.stop.set()
        if self.thread is not None:
            self.thread.join(PATIENCE_S)
            assert not self.thread.is_alive()

    def load(self, running: float, waiting: float, tokens: float) -> None:
        """What the engine's page says now."""
        names = ("requests_running", "requests_waiting", "generation_tokens")
        figures = zip(names, (running, waiting, tokens), strict=True)
        at_s = self.clock.now_s()
        self.loads.note(
            SampleBatch.from_rows([(at_s, ENGINE, f"engine.{name}", v) for name, v in figures])
        )

    def told(self, **wanted: object) -> list[Event]:
        """Events whose data hold this."""
        return [
            event
            for event in self.sink.events
            if all(event.data.get(name) == value for name, value in wanted.items())
        ]


Make = Callable[..., Bench]


@pytest.fixture
def api() -> Iterator[EngineApi]:
    """A healthy engine, until told otherwise."""
    server = EngineApi(answers)
    yield server
    server.close()


@pytest.fixture
def bench(api: EngineApi, tmp_path: Path) -> Iterator[Make]:
    """Makes benches, and ends their probes before the server."""
    made: list[Bench] = []

    def make(**settings: object) -> Bench:
        made.append(Bench(api, tmp_path / "golden.json", **settings))
        return made[-1]

    yield make
    for each in made:
        each.end()


def hasty(api: EngineApi, **golden: object) -> dict[str, object]:
    """Settings under which a hang and a golden prompt are soon known."""
    replica = {"url": api.url, "engine": "e", "interval_s": 0.05, "timeout_s": 0.5}
    wanted = {"interval_s": 0.05, "confirm_s": 0.05, "learn": 2, "prompts": ["One,"], **golden}
    return {"replicas": [replica], "golden": wanted}


def test_a_hang_that_began_while_idle_is_seen_and_its_end_too(api: EngineApi, bench: Make) -> None:
    """The metrics of such an engine show nothing running and nothing waiting."""
    one = bench(**hasty(api))
    one.start()
    one.sink.until(lambda: bool(one.told(ok=True)))
    api.handler = hangs
    one.sink.until(lambda: len(one.told(ok=False, outcome="timeout")) >= 2)
    api.handler = answers
    healthy = len(one.told(ok=True))
    one.sink.until(lambda: len(one.told(ok=True)) > healthy)
    one.end()
    event = one.told(ok=False)[0]
    assert (event.type, event.subject) == (EventType.PROBE, ENGINE)
    assert event.data["asked"] == "completion"
    assert event.data["witness"] == Witness.PROBE.value
    assert float(event.data["duration_s"]) >= 0.5
    assert {value for _, value in one.sink.values("engine.canary_ok")} == {0.0, 1.0}
    # A status of 0 would say that nobody listens: a hang would be taken for a crash.
    assert {value for _, value in one.sink.values("engine.probe_status")} == {200.0}


def test_nothing_that_follows_a_mark_is_older(api: EngineApi, bench: Make) -> None:
    """Also while a request hangs: marks go on, so that the fleet's ticks do."""
    api.handler = hangs
    one = bench(**hasty(api))
    one.start()
    one.sink.until(lambda: len(one.told(outcome="timeout")) >= 2)
    first, second = (event.time_s for event in one.told(outcome="timeout")[:2])
    assert [mark for mark in one.sink.marks if first < mark < second]
    one.end()
    assert one.sink.marks == sorted(one.sink.marks)


def test_a_queue_that_moves_is_not_joined_and_one_that_stands_is_asked(
    api: EngineApi, bench: Make
) -> None:
    one = bench(replicas=[{"url": api.url, "engine": "e", "interval_s": 0.05}])
    one.load(8, 5, 100)
    one.load(8, 5, 130)
    one.start()
    one.sink.until(lambda: bool(one.told(outcome="busy")))
    marks = len(one.sink.marks)
    one.sink.until(lambda: len(one.sink.marks) > marks + 2)
    assert api.calls == []
    assert len(one.told(outcome="busy")) == 1
    assert "ok" not in one.told(outcome="busy")[0].data
    one.load(8, 5, 130)
    one.sink.until(lambda: bool(one.told(ok=True)))


def test_a_wrong_name_is_told_and_accuses_nobody(api: EngineApi, bench: Make) -> None:
    api.handler = says("404 Not Found")
    one = bench()
    one.start()
    one.sink.until(lambda: bool(one.told(outcome="http_404")))
    assert "ok" not in one.told(outcome="http_404")[0].data


def test_three_misses_of_the_golden_prompt_in_a_row_are_told(api: EngineApi, bench: Make) -> None:
    wrong = threading.Event()

    def engine(call: Call) -> None:
        if wrong.is_set() and call.body["prompt"] == "One,":
            call.complete([" t0", " t1"], [-0.5, -1.75])
        else:
            answers(call)

    api.handler = engine
    one = bench(**hasty(api, tokens=2))
    one.load(0, 0, 0)
    one.start()
    one.sink.until(lambda: len(one.told(golden="match")) >= 2)
    assert one.told(signature="golden_mismatch") == []
    wrong.set()
    one.sink.until(lambda: bool(one.told(signature="golden_mismatch")))
    wrong.clear()
    matches = len(one.told(golden="match"))
    one.sink.until(lambda: len(one.told(golden="match")) > matches)
    one.end()
    event = one.told(signature="golden_mismatch")[0]
    assert (event.type, event.subject) == (EventType.LOG_SIGNATURE, ENGINE)
    assert event.data["witness"] == Witness.PROBE.value
    assert (event.data["misses"], event.data["at_token"]) == (3, 1)
    assert event.data["distance"] == pytest.approx(1.25)
    assert "log-probability of token 1 is off by 1.250; 3 misses in a row" in str(
        event.data["line"]
    )
    assert [e.data["misses"] for e in one.told(golden="drift")][:3] == [1, 2, 3]
    assert all(e.data["ok"] is True for e in one.told(golden="drift"))
    assert [value for _, value in one.sink.values("engine.golden_missed")][-1] >= 3
    assert signature_policy("golden_mismatch").confidence >= 0.8


def test_golden_prompts_of_one_engine_are_counted_together(api: EngineApi, bench: Make) -> None:
    """A counter that showed each prompt's own count in turn would fall time and again."""
    one = bench(**hasty(api, prompts=["One,", "Two,"]))
    one.load(0, 0, 0)
    one.start()
    one.sink.until(lambda: len(one.told(golden="match")) >= 6)
    counts = [value for _, value in one.sink.values("engine.golden_checked") if value]
    assert counts[:6] == [1, 2, 3, 4, 5, 6]


def test_a_golden_prompt_is_sent_only_to_an_engine_that_is_known_to_be_alone(
    api: EngineApi, bench: Make
) -> None:
    one = bench(**hasty(api))
    one.start()
    one.sink.until(lambda: len(one.told(asked="completion")) >= 5)
    one.load(1, 0, 0)
    seen = len(one.told(asked="completion"))
    one.sink.until(lambda: len(one.told(asked="completion")) >= seen + 5)
    assert one.told(asked="golden") == []
    one.load(0, 0, 0)
    one.sink.until(lambda: bool(one.told(asked="golden")))


def test_what_was_learnt_holds_after_a_restart(api: EngineApi, bench: Make) -> None:
    first = bench(**hasty(api))
    first.load(0, 0, 0)
    first.start()
    first.sink.until(lambda: bool(first.told(golden="match")))
    first.end()
    second = bench(**hasty(api))
    second.load(0, 0, 0)
    second.start()
    second.sink.until(lambda: bool(second.told(golden="match")))
    assert second.told(golden="learning") == []


def test_a_log_that_is_away_ends_the_run_and_the_next_goes_on(api: EngineApi, bench: Make) -> None:
    one = bench()
    collector = one.collector()
    one.sink.fails = True
    with pytest.raises(StreamError):
        collector.run(one.stop)
    one.sink.fails = False
    one.thread = threading.Thread(target=collector.run, args=(one.stop,), daemon=True)
    one.thread.start()
    one.sink.until(lambda: bool(one.told(ok=True)))


def test_the_probe_states_whom_it_observes(bench: Make) -> None:
    one = bench()
    one.stop.set()
    one.collector().run(one.stop)
    relation = one.sink.changes[-1]
    assert (relation.relation, relation.target) == (RelationKind.OBSERVES, ENGINE)


@pytest.mark.parametrize(("replicas", "most", "under_way"), [(1, 8, 1), (6, 2, 2)])
def test_one_request_a_replica_and_so_many_in_all_are_under_way(
    api: EngineApi, bench: Make, replicas: int, most: int, under_way: int
) -> None:
    api.handler = hangs
    names = [f"e{at}" for at in range(replicas)]
    fields = [
        {"url": api.url, "engine": name, "interval_s": 0.05, "timeout_s": 60} for name in names
    ]
    one = bench(replicas=fields, in_flight_max=most)
    one.start()
    one.sink.until(lambda: len(api.calls) >= under_way)
    marks = len(one.sink.marks)
    one.sink.until(lambda: len(one.sink.marks) > marks + 3)
    assert len(api.calls) == under_way


def test_an_engine_has_one_replica() -> None:
    replica = {"url": "http://e:1", "engine": "e"}
    with pytest.raises(ValidationError, match="one replica"):
        ProbeSettings.model_validate({"replicas": [replica, replica]})
