"""Scraping: every way in which a target fails to answer has a name, a sample and an event."""

import gzip
import itertools
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from collectors.fetch import Fetched, Outcome
from collectors.prometheus import PrometheusCollector
from fleetmend.clock import ManualClock
from fleetmend.model.entities import RelationKind, TopologyOp
from fleetmend.settings.collectors import CollectorsSettings, TargetSettings
from fleetmend.views.topology import TopologyView
from tests.unit.collectors.fakes import HeldExecutor, ListLetters, ListSink, Pages, page_of

PAGE = 'vllm:num_requests_running{engine="0",model_name="m"} 3\nprocess_open_fds 7\n'
ENGINE = TargetSettings(
    url="http://e:8000/metrics", kind="engine", engine="e-1", node="n1", pod="llm/e-0"
)
NOWHERE = TargetSettings(url="http://e:8000/metrics", kind="engine", engine="e-1")
GPUS = TargetSettings(url="http://n1:9400/metrics", kind="gpu", node="n1")
Answer = Callable[[str], Fetched]


class Rig:
    """A collector with one engine target, whose answers the test decides."""

    def __init__(
        self,
        answer: Answer,
        target: TargetSettings | None = None,
        *,
        cpu_s: Callable[[], float] = lambda: 0.0,
        **limits: object,
    ) -> None:
        self.clock = ManualClock(1000.0)
        self.sink = ListSink()
        self.letters = ListLetters()
        self.executor = HeldExecutor()
        self.pages = Pages(lambda url: self.answer(url))
        self.answer = answer
        target = target or ENGINE
        self.settings = CollectorsSettings.model_validate({"targets": [target]} | limits)
        self.collector = PrometheusCollector(
            self.settings,
            cluster="c",
            sink=self.sink,
            clock=self.clock,
            dead_letters=self.letters,
            fetcher=self.pages,
            executor=self.executor,
            cpu_s=cpu_s,
        )

    def run_for(self, seconds: int) -> None:
        """Poll as the loop would, in steps of a tenth of a second."""
        for _ in range(seconds * 10):
            self.collector.poll()
            self.clock.sleep(0.1)
        self.collector.poll()  # starts what is due now
        self.collector.poll()  # takes it in

    @property
    def outcomes(self) -> list[object]:
        """The outcome of every scrape event."""
        return [event.data["outcome"] for event in self.sink.events]


def page(text: str = PAGE) -> Answer:
    """Answers with a page."""
    return page_of(text)


def fails(outcome: Outcome, status: int = 0) -> Answer:
    """Does not answer with a page."""
    return lambda _: Fetched(outcome, status=status)


def packed(body: bytes) -> Answer:
    """Answers with a body that it calls gzip."""
    return lambda _: Fetched(Outcome.OK, body, packed=True, status=200)


def test_a_page_becomes_samples_at_the_time_of_its_scrape() -> None:
    rig = Rig(page())
    rig.run_for(3)
    assert [at for at, _ in rig.sink.values("engine.requests_running")] == pytest.approx(
        [1000.0, 1001.0, 1002.0, 1003.0], abs=0.11
    )
    assert {value for _, value in rig.sink.values("engine.requests_running")} == {3.0}
    assert {value for _, value in rig.sink.values("engine.scrape_up")} == {1.0}
    assert {node for node, _ in rig.sink.batches} == {"n1"}


@pytest.mark.parametrize(
    ("answer", "outcome"),
    [
        (fails(Outcome.REFUSED), "refused"),
        (fails(Outcome.TIMEOUT), "timeout"),
        (fails(Outcome.TLS), "tls"),
        (fails(Outcome.STATUS, 503), "http_503"),
        (page(""), "empty"),
        (page("# HELP a b\n# TYPE a gauge\n"), "empty"),
        (page("<html>\nsorry\n</html>\n"), "unreadable"),
        (packed(gzip.compress(b"a 1\n" * 100_000)), "oversize"),
        (packed(gzip.compress(b"a 1\n")[:-4]), "unreadable"),
        (packed(b"no gzip"), "unreadable"),
    ],
)
def test_every_failure_has_its_name_and_counts_as_down(answer: Answer, outcome: str) -> None:
    rig = Rig(answer, body_bytes_max=65_536)
    rig.collector.poll()
    rig.collector.poll()
    assert rig.outcomes == [outcome]
    assert rig.sink.values("engine.scrape_up") == [(1000.0, 0.0)]
    assert rig.sink.values("engine.requests_running") == []
    assert rig.sink.events[0].subject == "c/engine/e-1"


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (page("<html>\nsorry\n</html>\n"), "line 1: "),
        (packed(b"no gzip"), "its packing is broken"),
        (fails(Outcome.REFUSED), ""),
    ],
)
def test_a_page_that_nobody_can_read_says_why(answer: Answer, error: str) -> None:
    rig = Rig(answer)
    rig.collector.poll()
    rig.collector.poll()
    said = str(rig.sink.events[0].data.get("error", ""))
    assert said.startswith(error)
    assert bool(said) is bool(error)


def test_a_packed_page_is_unpacked() -> None:
    rig = Rig(packed(gzip.compress(PAGE.encode())))
    rig.run_for(1)
    assert rig.outcomes == ["ok"]
    assert rig.sink.values("engine.requests_running")


def test_a_target_that_refuses_is_asked_less_often_and_at_once_when_it_is_back() -> None:
    asked: list[float] = []
    rig = Rig(page())

    def refuse(_: str) -> Fetched:
        asked.append(rig.clock.now_s())
        return Fetched(Outcome.REFUSED)

    rig.answer = refuse
    rig.run_for(20)
    gaps = [round(b - a) for a, b in itertools.pairwise(asked)]
    assert gaps == [1, 2, 4, 5, 5]
    rig.answer = page()
    rig.run_for(10)
    times = [at for at, _ in rig.sink.values("engine.requests_running")]
    assert len(times) >= 5
    assert round(times[1] - times[0]) == 1


def test_a_503_is_not_a_refusal_and_is_watched_every_second() -> None:
    rig = Rig(fails(Outcome.STATUS, 503))
    rig.run_for(5)
    assert len(rig.sink.values("engine.scrape_up")) == 6


def test_events_tell_what_is_new_at_once_and_what_is_old_seldom() -> None:
    rig = Rig(page())
    rig.run_for(8)
    rig.answer = fails(Outcome.STATUS, 503)
    rig.run_for(3)
    rig.answer = page()
    rig.run_for(58)
    assert rig.outcomes == ["ok", "http_503", "ok"]
    rig.run_for(4)
    rig.answer = fails(Outcome.STATUS, 503)
    rig.run_for(5)
    assert rig.outcomes == ["ok", "http_503", "ok", "ok", "http_503"]
    rig.run_for(8)
    assert rig.outcomes[5:] == ["http_503"]


def test_series_that_vanish_are_counted_and_not_judged() -> None:
    rig = Rig(page(PAGE + "vllm:num_requests_waiting 1\n"))
    rig.run_for(1)
    rig.answer = page()
    rig.run_for(1)
    assert [event.data["series_gone"] for event in rig.sink.events] == [0, 1]


def test_bad_lines_are_dead_letters_once_and_the_rest_counts() -> None:
    rig = Rig(page("Active 1g.5gb\n" + PAGE))
    rig.run_for(3)
    assert [(letter.source, letter.payload) for letter in rig.letters.letters] == [
        ("scrape", b"Active 1g.5gb")
    ]
    assert rig.letters.letters[0].where == "http://e:8000/metrics line 1"
    assert rig.sink.values("engine.requests_running")
    assert rig.sink.events[-1].data["bad_lines"] == 1


def test_no_sample_is_older_than_a_mark_even_while_a_scrape_hangs() -> None:
    rig = Rig(page())
    rig.run_for(2)
    rig.executor.held = True
    rig.run_for(3)
    held_mark = rig.sink.marks[-1]
    rig.executor.held = False
    rig.executor.release()
    rig.run_for(1)
    late = [at for at, _ in rig.sink.values("engine.requests_running") if at > 1002.5]
    assert late
    assert held_mark <= min(late)
    assert rig.sink.marks[-1] > held_mark
    assert rig.sink.marks == sorted(rig.sink.marks)


def test_a_hanging_target_is_not_asked_twice_at_once() -> None:
    rig = Rig(page())
    rig.executor.held = True
    rig.run_for(5)
    rig.executor.release()
    rig.collector.poll()
    assert len(rig.sink.values("engine.scrape_up")) == 1


def test_the_collector_states_what_it_scrapes() -> None:
    rig = Rig(page())
    rig.collector.announce()
    view = TopologyView()
    for change in rig.sink.changes:
        view.apply(change)
    engine = view.resolve("c/engine/e-1")
    assert engine is not None
    assert view.sources(engine, RelationKind.OBSERVES) == ("c/collector/prometheus",)
    assert view.targets(engine, RelationKind.RUNS_ON) == ("c/node/n1",)
    assert view.targets(engine, RelationKind.MEMBER_OF) == ("c/pool/default",)
    assert view.attributes[engine]["pool"] == "default"


def test_where_the_cluster_states_the_fleet_the_targets_do_not() -> None:
    rig = Rig(page(), states_topology=False)
    rig.collector.announce()
    ops = {(change.op, change.entity.split("/")[1]) for change in rig.sink.changes}
    assert ops == {(TopologyOp.ENTITY, "collector"), (TopologyOp.RELATION, "collector")}


def test_the_pages_own_words_do_not_overwrite_the_engine() -> None:
    rig = Rig(page())
    rig.run_for(1)
    stated = {c.entity for c in rig.sink.changes if c.op is TopologyOp.ENTITY}
    assert stated == {"c/model/m"}


def ever_new(line: str, per_page: int = 3) -> Answer:
    """Answers every time with lines whose `{}` nobody has seen before."""
    numbers = itertools.count()
    return lambda url: page_of("".join(line.format(next(numbers)) for _ in range(per_page)))(url)


@pytest.mark.parametrize(
    ("target", "line", "kinds"),
    [
        (ENGINE, 'vllm:num_requests_running{{model_name="m{}"}} 1\n', "model"),
        (NOWHERE, 'node_memory_MemAvailable_bytes{{node="m{}"}} 1\n', "node"),
        (GPUS, 'DCGM_FI_DEV_SM_CLOCK{{UUID="GPU-{}"}} 1\n', "gpu"),
        (GPUS, 'DCGM_FI_DEV_SM_CLOCK{{gpu="{}"}} 1\n', "gpu"),
        (GPUS, 'DCGM_FI_DEV_SM_CLOCK{{UUID="GPU-1",gpu="{}"}} 1\n', "index"),
        (GPUS, 'DCGM_FI_DEV_SM_CLOCK{{UUID="GPU-1",pci_bus_id="{:08x}:00:00.0"}} 1\n', "pci"),
        (GPUS, 'DCGM_FI_DEV_SM_CLOCK{{UUID="GPU-1",pod="p{}"}} 1\n', "pod"),
        (GPUS, 'DCGM_FI_DEV_FB_USED{{UUID="GPU-1",GPU_I_ID="{}"}} 1\n', "mig"),
    ],
)
def test_a_page_of_ever_new_labels_names_so_many_things_and_no_more(
    target: TargetSettings, line: str, kinds: str
) -> None:
    rig = Rig(ever_new(line), target, names_max=16)
    rig.run_for(60)
    stated = {(c.op, c.entity, c.target) for c in rig.sink.changes}
    spoken = {entity for _, batch in rig.sink.batches for entity in batch.entities}
    assert len(spoken) <= 16 + 2  # the target itself, and the board of an instance
    assert len(stated) <= 3 * (16 + 1)
    data = rig.sink.events[-1].data
    assert (data["refused_kinds"], data["refused_names"]) == (kinds, 3)


def test_what_was_named_before_the_flood_is_still_heard() -> None:
    flood = "".join(f'DCGM_FI_DEV_SM_CLOCK{{UUID="GPU-{i}"}} {i}\n' for i in range(40))
    rig = Rig(page('DCGM_FI_DEV_SM_CLOCK{UUID="GPU-39"} 7\n'), GPUS, names_max=16)
    rig.run_for(1)
    rig.answer = page(flood)
    rig.run_for(2)
    assert 39.0 in [value for _, value in rig.sink.values("gpu.sm_clock")]
    assert [event.data["refused_names"] for event in rig.sink.events] == [0, 24]


def test_pods_that_come_and_go_are_named_again_after_an_hour() -> None:
    rig = Rig(ever_new('DCGM_FI_DEV_SM_CLOCK{{UUID="GPU-1",pod="p{}"}} 1\n', 1), GPUS, names_max=16)

    def named() -> int:
        return len({c.entity for c in rig.sink.changes if c.entity.startswith("c/pod/")})

    rig.run_for(30)
    assert named() == 16
    rig.clock.advance_to(1000.0 + 3601)
    rig.run_for(5)
    assert named() > 16


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"kind": "engine"}, "needs engine"),
        ({"kind": "gpu"}, "needs node"),
        ({"kind": "node", "node": "n", "pod": "a/b"}, "belong to engine targets"),
        ({"kind": "node", "node": "n", "timeout_s": 1.0}, "timeout_s must be less"),
        ({"kind": "node", "node": "n", "url": "ftp://x/"}, "url"),
        ({"kind": "node", "node": "n", "speed": 1}, "speed"),
    ],
)
def test_a_target_that_makes_no_sense_is_refused(fields: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        TargetSettings.model_validate({"url": "http://x/metrics", **fields})


def test_an_outcome_word_names_the_status() -> None:
    assert {outcome.value for outcome in Outcome} >= {"ok", "refused", "timeout", "empty"}


def engine_page(running: int, cpu_s: float) -> Answer:
    """A front end that lives, with what its core said last."""
    return page(f"vllm:num_requests_running {running}\nprocess_cpu_seconds_total {cpu_s}\n")


def last(rig: Rig, signal: str) -> float:
    """The newest value of a signal."""
    return rig.sink.values(signal)[-1][1]


def test_a_page_whose_core_is_dead_is_read_and_stands_still() -> None:
    """The front end's own figures move on; they do not count."""
    cpu = itertools.count()
    rig = Rig(lambda url: engine_page(6, next(cpu))(url))
    rig.run_for(5)
    assert last(rig, "engine.scrape_up") == 1.0
    assert last(rig, "engine.scrape_age") == 0.0
    assert last(rig, "engine.scrape_unchanged") == pytest.approx(5.0, abs=0.3)
    rig.answer = engine_page(5, 0)
    rig.run_for(1)
    assert last(rig, "engine.scrape_unchanged") < 1.2


def test_the_age_of_a_page_grows_while_it_cannot_be_read_and_is_unknown_before() -> None:
    rig = Rig(fails(Outcome.STATUS, 503))
    rig.run_for(2)
    assert rig.sink.values("engine.scrape_age") == []
    rig.answer = page()
    rig.run_for(1)
    rig.answer = fails(Outcome.STATUS, 503)
    rig.run_for(3)
    assert last(rig, "engine.scrape_age") == pytest.approx(3.0, abs=1.1)
    assert last(rig, "engine.scrape_unchanged") >= last(rig, "engine.scrape_age")


def test_a_page_without_a_figure_of_its_own_does_not_stand_still() -> None:
    rig = Rig(page("process_open_fds 7\n"))
    rig.run_for(2)
    assert rig.sink.values("engine.scrape_unchanged") == []


def fleet(count: int, **limits: Any) -> Rig:
    """A collector with many node targets that are asked every ten seconds."""
    targets = [
        {"url": f"http://n{n}:9100/metrics", "kind": "node", "node": f"n{n}", "interval_s": 10}
        for n in range(count)
    ]
    return Rig(page("node_load1 1\n"), targets=targets, **limits)


def test_targets_take_their_turns_over_the_interval() -> None:
    rig = fleet(100)
    for _ in range(10):
        before = len(rig.pages.asked)
        for _ in range(10):
            rig.collector.poll()
            rig.clock.sleep(0.1)
        assert 8 <= len(rig.pages.asked) - before <= 12
    assert len(set(rig.pages.asked)) == 100


def test_a_mark_does_not_wait_for_ever_for_an_answer_and_holds_all_the_same() -> None:
    """One target that hangs must not stop the time of all others."""
    slow = {"url": "http://s/", "kind": "node", "node": "s", "interval_s": 60, "timeout_s": 30}
    rig = Rig(page("node_load1 1\n"), targets=[slow])
    rig.pages.held = True
    rig.run_for(10)
    assert rig.sink.marks[-1] > 1008.0
    rig.pages.release()
    marks_before = list(rig.sink.marks)
    rig.run_for(1)
    [(at_s, _)] = rig.sink.values("node.scrape_up")
    assert at_s >= marks_before[-1]


def test_where_reading_falls_behind_scrapes_begin_late_and_say_so() -> None:
    rig = fleet(1000, scrape_event_s=0)
    rig.executor.held = True
    rig.run_for(10)
    assert len(rig.pages.asked) < 100
    rig.executor.held = False
    rig.executor.release()
    for _ in range(60):
        rig.collector.poll()
    assert len(set(rig.pages.asked)) == 1000
    late_s = [float(event.data["late_s"]) for event in rig.sink.events]
    assert max(late_s) > 5.0


def test_targets_that_hang_keep_nobody_from_being_asked() -> None:
    """So many may be asked at once; who has hung for a second is not of them."""
    rig = fleet(2000)
    rig.pages.held = True
    rig.run_for(2)
    assert 120 < len(rig.pages.asked) < 400
    rig.run_for(8)
    assert len(rig.pages.asked) > 1000


def test_small_pages_do_not_stand_in_line_behind_large_ones() -> None:
    """What a packed page holds is known only when it was read once."""
    rig = Rig(packed(gzip.compress(b"node_load1 1\n" * 100_000)), GPUS, workers=1)
    lines: list[str] = []
    for name in ("_executor", "_for_large"):
        each = HeldExecutor()
        submit = each.submit

        def noted(*args: object, at: str = name, to: Callable[..., object] = submit) -> object:
            lines.append(at)
            return to(*args)

        each.submit = noted  # type: ignore[assignment, method-assign]
        setattr(rig.collector, name, each)
    rig.run_for(3)
    assert lines[:3] == ["_executor", "_for_large", "_for_large"]


def test_large_pages_that_wait_are_given_up_beyond_a_bound() -> None:
    many = [
        {"url": f"http://n{n}/", "kind": "node", "node": f"n{n}", "interval_s": 1} for n in range(4)
    ]
    rig = Rig(page("a" * 1_200_000), targets=many, held_bytes_max=3_000_000)
    rig.executor.held = True
    rig.run_for(2)
    rig.executor.held = False
    rig.executor.release()
    rig.collector.poll()
    assert sorted(map(str, rig.outcomes)) == ["oversize"] * 2 + ["unreadable"] * 2


def test_a_page_that_is_hard_to_read_is_read_less_often() -> None:
    used_s = itertools.count()
    rig = Rig(page(), cpu_s=lambda: next(used_s) * 0.25)
    rig.run_for(21)
    # Twenty times a quarter of a second between two readings.
    assert len(rig.sink.values("engine.scrape_up")) == 5
