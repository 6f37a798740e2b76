"""What a sender's messages become: its own samples, nobody else's, in time, once."""

import dataclasses
import threading
import tracemalloc

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality as Way

from collectors.batches import merge_batches
from collectors.otlp.intake import Full, Intake
from fleetmend.clock import ManualClock
from fleetmend.errors import StreamError
from fleetmend.model.entities import EntityId, RelationKind, TopologyChange
from fleetmend.model.events import Event, EventType
from fleetmend.model.samples import SampleBatch
from fleetmend.ports.deadletters import DeadLetter
from fleetmend.settings.collectors import CollectorsSettings
from fleetmend.settings.otlp import OtlpSenderSettings, OtlpSettings
from fleetmend.signals.catalogue import catalogue

NOW_S = 1_795_397_000.0
NS = 1_000_000_000
OTHERS_GPU = EntityId("c/gpu/GPU-victim")
OWN_GPU, HOME = EntityId("c/gpu/GPU-own"), EntityId("c/node/node-1")
ENGINE = EntityId("c/engine/e-1")
CUMULATIVE, DELTA = (
    Way.AGGREGATION_TEMPORALITY_CUMULATIVE,
    Way.AGGREGATION_TEMPORALITY_DELTA,
)


class Sink:
    """Keeps what it is given, in order."""

    def __init__(self) -> None:
        self.rows: list[tuple[str, str, float, float]] = []
        self.events: list[Event] = []
        self.changes: list[TopologyChange] = []
        self.marks: list[float] = []

    def samples(self, batch: SampleBatch, node: str) -> None:
        assert node
        for at, entity, signal, value in zip(
            batch.time_s, batch.entity, batch.signal, batch.value, strict=True
        ):
            row = batch.entities[entity], batch.signals[signal], float(at), float(value)
            assert not self.marks or row[2] >= self.marks[-1], "a promise was broken"
            self.rows.append(row)

    def event(self, event: Event) -> None:
        self.events.append(event)

    def topology(self, change: TopologyChange) -> None:
        self.changes.append(change)

    def mark(self, at_s: float) -> None:
        self.marks.append(at_s)


class Letters:
    def __init__(self) -> None:
        self.kept: list[DeadLetter] = []

    def put(self, letter: DeadLetter) -> None:
        self.kept.append(letter)


class SetClock(ManualClock):
    """A clock that somebody sets back."""

    def back_to(self, moment_s: float) -> None:
        self._now_s = moment_s


@dataclasses.dataclass
class Stand:
    intake: Intake
    sink: Sink
    clock: SetClock
    letters: Letters

    def send(self, request: ExportMetricsServiceRequest, sender: str = "node-1") -> int:
        return self.intake.metrics(sender, request.SerializeToString()).rejected

    def rows(self) -> list[tuple[str, str, float]]:
        """What has come since this was last asked: entity, signal, value."""
        self.intake.poll()
        rows, self.sink.rows = self.sink.rows, []
        return sorted((entity, signal, value) for entity, signal, _, value in rows)


@pytest.fixture
def stand() -> Stand:
    senders = tuple(
        OtlpSenderSettings.model_validate({"token_file": "unread", **each})
        for each in (
            {"name": "node-1", "speaks_for": "node", "node": "node-1"},
            {"name": "tenant", "speaks_for": "engine", "engine": "e-1"},
            {"name": "gateway", "speaks_for": "cluster"},
            {"name": "chat", "speaks_for": "feedback", "tenant": "acme"},
        )
    )
    settings = CollectorsSettings(otlp=OtlpSettings(senders=senders, waiting_max=50))
    homes = {OTHERS_GPU: EntityId("c/node/node-9"), ENGINE: HOME, OWN_GPU: HOME}
    sink, clock, letters = Sink(), SetClock(NOW_S), Letters()
    intake = Intake(
        settings,
        cluster="c",
        sink=sink,
        clock=clock,
        dead_letters=letters,
        signals=catalogue(),
        resolve=lambda name: ENGINE if name in (ENGINE, "pod:llm/vllm-0") else None,
        node_of=homes.get,
    )
    return Stand(intake, sink, clock, letters)


def gauge(
    name: str, value: float, *, at_s: float = NOW_S, host: str = "", **labels: str
) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    if host:
        resource.resource.attributes.add(key="host.name").value.string_value = host
    metric = resource.scope_metrics.add().metrics.add(name=name)
    point = metric.gauge.data_points.add(time_unix_nano=int(at_s * NS), as_double=value)
    for key, text in labels.items():
        point.attributes.add(key=key.replace("__", ".")).value.string_value = text
    return request


def test_a_nodes_gauge_becomes_a_sample_and_its_known_gpu_part_of_the_node(stand: Stand) -> None:
    assert stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-own")) == 0
    assert stand.rows() == [("c/gpu/GPU-own", "gpu.utilization", 0.5)]
    placed = [c for c in stand.sink.changes if c.target == "c/node/node-1"]
    assert [change.entity for change in placed] == ["c/gpu/GPU-own"]


def test_a_node_may_measure_a_gpu_that_nobody_has_placed_and_not_claim_it(stand: Stand) -> None:
    assert stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-1")) == 0
    assert stand.rows() == [("c/gpu/GPU-1", "gpu.utilization", 0.5)]
    assert [c for c in stand.sink.changes if c.relation is RelationKind.PART_OF] == []


def test_nothing_is_taken_until_the_fleet_was_known_once(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stand.intake, "_fleet_known", lambda: False)
    with pytest.raises(Full):
        stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-own"))
    with pytest.raises(Full):
        stand.intake.logs("node-1", logs(XID))
    monkeypatch.undo()
    assert stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-own")) == 0


def test_an_id_that_is_only_a_number_is_the_nodes_gpu_of_that_number(stand: Stand) -> None:
    stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="3"))
    assert stand.rows() == [("c/gpu/node-1/gpu:3", "gpu.utilization", 0.5)]


def test_a_node_cannot_speak_for_the_gpu_of_another_node(stand: Stand) -> None:
    assert stand.send(gauge("hw.gpu.utilization", 0.0, hw__id="GPU-victim")) == 1
    assert stand.rows() == []
    assert [c for c in stand.sink.changes if c.entity == OTHERS_GPU] == []


def test_a_node_cannot_speak_as_another_host(stand: Stand) -> None:
    stand.send(gauge("system.memory.limit", 7.0, host="node-9"))
    assert stand.rows() == [("c/node/node-1", "node.memory_total", 7.0)]


def test_an_engines_sender_cannot_speak_for_gpus_nodes_or_models(stand: Stand) -> None:
    rejected = stand.send(gauge("hw.gpu.utilization", 0.0, hw__id="GPU-1"), "tenant")
    rejected += stand.send(gauge("system.memory.limit", 7.0, host="node-1"), "tenant")
    rejected += stand.send(
        gauge("fleetmend.feedback", 9.0, rating="down", gen_ai__request__model="m"), "tenant"
    )
    assert stand.rows() == []
    assert rejected == 3
    assert {change.entity for change in stand.sink.changes} <= {ENGINE, "c/model/m"}


def test_a_gateway_speaks_for_hosts_and_for_engines_by_their_pods(stand: Stand) -> None:
    stand.send(gauge("system.memory.limit", 7.0, host="node-9"), "gateway")
    request = gauge("vllm:num_requests_running", 3.0)
    for key, text in (("k8s.namespace.name", "llm"), ("k8s.pod.name", "vllm-0")):
        attribute = request.resource_metrics[0].resource.attributes.add(key=key)
        attribute.value.string_value = text
    stand.send(request, "gateway")
    assert stand.rows() == [
        (ENGINE, "engine.requests_running", 3.0),
        ("c/node/node-9", "node.memory_total", 7.0),
    ]


def test_thumbs_of_people_are_counted_for_model_and_tenant(stand: Stand) -> None:
    for rating, thumbs in (("up", 2.0), ("down", 5.0)):
        request = gauge(
            "fleetmend.feedback",
            thumbs,
            rating=rating,
            gen_ai__request__model="m",
            tenant__id="acme",
        )
        stand.send(request, "gateway")
    assert stand.rows() == [
        ("c/model/m", "model.feedback_down", 5.0),
        ("c/model/m", "model.feedback_up", 2.0),
        ("c/tenant/acme", "tenant.feedback_down", 5.0),
        ("c/tenant/acme", "tenant.feedback_up", 2.0),
    ]


def test_thumbs_without_opentelemetry_go_the_same_way(stand: Stand) -> None:
    body = b'{"votes": [{"rating": "down", "model": "m"}, {"rating": "up", "tenant": "rival"}]}'
    taken = stand.intake.feedback("chat", body)
    assert (taken.rejected, taken.why) == (1, "not_its_own=1")
    assert ("c/model/m", "model.feedback_down", 0.0) in stand.rows()
    stand.clock.advance_to(NOW_S + 2.0)
    assert stand.rows() == [
        ("c/model/m", "model.feedback_down", 1.0),
        ("c/tenant/acme", "tenant.feedback_down", 1.0),
    ]


def test_a_sender_of_feedback_tells_thumbs_of_its_tenant_over_otlp_and_nothing_else(
    stand: Stand,
) -> None:

    def thumbs(count: float, tenant: str) -> ExportMetricsServiceRequest:
        labels = {"rating": "up", "gen_ai__request__model": "m", "tenant__id": tenant}
        return gauge("fleetmend.feedback", count, at_s=NOW_S, host="", **labels)

    assert stand.send(thumbs(3.0, "acme"), "chat") == 0
    rejected = stand.send(thumbs(9.0, "rival"), "chat")
    rejected += stand.send(gauge("hw.gpu.utilization", 0.0, hw__id="GPU-1"), "chat")
    rejected += stand.send(gauge("vllm:num_requests_running", 3.0, model_name="m"), "chat")
    assert rejected >= 2
    assert {(entity, signal) for entity, signal, _ in stand.rows()} == {
        ("c/model/m", "model.feedback_up"),
        ("c/tenant/acme", "tenant.feedback_up"),
    }
    assert stand.sink.changes == []


@pytest.mark.parametrize(("off_s", "taken"), [(-1.0, 1), (-3.0, 0), (4.0, 1), (60.0, 0)])
def test_points_that_are_late_or_from_the_future_are_dropped_and_told(
    stand: Stand, off_s: float, taken: int
) -> None:
    request = gauge("hw.gpu.utilization", 0.5, at_s=NOW_S + off_s, hw__id="GPU-1")
    assert stand.send(request) == 1 - taken
    assert len(stand.rows()) == taken


def test_nothing_older_than_a_mark_follows_it_even_when_the_clock_is_set_back(
    stand: Stand,
) -> None:
    stand.intake.poll()
    stand.clock.back_to(NOW_S - 30)
    stand.send(gauge("hw.gpu.utilization", 0.5, at_s=NOW_S - 30, hw__id="GPU-1"))
    stand.rows()  # the sink asserts
    assert stand.sink.marks == sorted(stand.sink.marks)


def test_a_series_that_has_gone_gives_no_sample(stand: Stand) -> None:
    request = gauge("hw.gpu.utilization", 0.5, hw__id="GPU-1")
    request.resource_metrics[0].scope_metrics[0].metrics[0].gauge.data_points[0].flags = 1
    stand.send(request)
    assert stand.rows() == []


def latency(
    counts: list[int], *, at_s: float, start_s: float, way: "Way.ValueType"
) -> ExportMetricsServiceRequest:
    request = ExportMetricsServiceRequest()
    metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
    metric.name = "gen_ai.server.time_to_first_token"
    metric.histogram.aggregation_temporality = way
    metric.histogram.data_points.add(
        time_unix_nano=int(at_s * NS),
        start_time_unix_nano=int(start_s * NS),
        explicit_bounds=[0.1, 0.2],
        bucket_counts=counts,
        count=sum(counts),
        sum=float(sum(counts)),
    )
    return request


def test_a_cumulative_histogram_gives_the_quantiles_of_what_came_between(stand: Stand) -> None:
    start_s = NOW_S - 100
    stand.send(latency([5, 0, 0], at_s=NOW_S, start_s=start_s, way=CUMULATIVE), "tenant")
    stand.send(latency([5, 10, 0], at_s=NOW_S + 1, start_s=start_s, way=CUMULATIVE), "tenant")
    found = {signal: value for _, signal, value in stand.rows()}
    assert found["engine.ttft_p50"] == pytest.approx(0.15)


def test_a_restart_that_only_the_start_time_tells_gives_no_window_across_it(stand: Stand) -> None:
    stand.send(latency([5, 0, 0], at_s=NOW_S, start_s=NOW_S - 9, way=CUMULATIVE), "tenant")
    stand.send(latency([5, 10, 0], at_s=NOW_S + 1, start_s=NOW_S, way=CUMULATIVE), "tenant")
    assert stand.rows() == []
    stand.send(latency([5, 10, 4], at_s=NOW_S + 2, start_s=NOW_S, way=CUMULATIVE), "tenant")
    assert "engine.ttft_p50" in {signal for _, signal, _ in stand.rows()}


def test_differences_are_added_up_and_a_repeated_one_counts_once(stand: Stand) -> None:
    for at_s, counts in ((0, [1, 0, 0]), (1, [0, 10, 0]), (1, [90, 0, 0])):
        stand.send(latency(counts, at_s=NOW_S + at_s, start_s=NOW_S, way=DELTA), "tenant")
    found = {signal: value for _, signal, value in stand.rows()}
    assert found["engine.ttft_p50"] == pytest.approx(0.15)


def test_exponential_buckets_give_the_same_quantile_within_a_fifth(stand: Stand) -> None:
    for at_s, many in ((0, 1), (1, 101)):
        request = ExportMetricsServiceRequest()
        metric = request.resource_metrics.add().scope_metrics.add().metrics.add()
        metric.name = "gen_ai.server.time_to_first_token"
        exponential = metric.exponential_histogram
        exponential.aggregation_temporality = CUMULATIVE
        point = exponential.data_points.add(
            time_unix_nano=int((NOW_S + at_s) * NS), scale=5, count=many, sum=0.3 * many
        )
        point.positive.offset = -56  # 2 ** (-56 / 32): 0.297 to 0.304
        point.positive.bucket_counts.append(many)
        stand.send(request, "tenant")
    found = {signal: value for _, signal, value in stand.rows()}
    assert found["engine.ttft_p50"] == pytest.approx(0.3, rel=0.2)


def logs(text: str, **attributes: str) -> bytes:
    request = ExportLogsServiceRequest()
    resource = request.resource_logs.add()
    for key, value in attributes.items():
        pair = resource.resource.attributes.add(key=key.replace("__", "."))
        pair.value.string_value = value
    record = resource.scope_logs.add().log_records.add(time_unix_nano=int(NOW_S * NS))
    record.body.string_value = text
    return bytes(request.SerializeToString())


XID = "NVRM: Xid (PCI:0000:3b:00): 79, pid=1, GPU has fallen off the bus."
DEAD = "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the cause."


def test_a_kernel_line_by_otlp_is_an_applications_word_about_the_senders_node(
    stand: Stand,
) -> None:
    stand.intake.logs("node-1", logs(XID, host__name="node-9"))
    stand.intake.poll()
    (event,) = [e for e in stand.sink.events if e.type is EventType.XID]
    assert event.subject == "c/node/node-1"
    assert event.data["witness"] == "application_log"


def test_an_engines_line_speaks_for_that_engine_alone(stand: Stand) -> None:
    stand.intake.logs("tenant", logs(DEAD))
    stand.intake.logs("tenant", logs(XID))
    stand.intake.poll()
    told = [e for e in stand.sink.events if e.type is not EventType.SCRAPE]
    assert {event.subject for event in told} == {ENGINE}
    assert {event.data.get("signature") for event in told} == {"engine_dead"}


def test_resources_beyond_the_bound_are_dropped_and_counted(
    stand: Stand,
) -> None:
    request = ExportMetricsServiceRequest()
    for host in range(4100):
        one = gauge("system.memory.limit", 1.0, host=f"h{host}")
        request.resource_metrics.extend(one.resource_metrics)
    assert stand.send(request, "gateway") == 4
    assert stand.intake.remembered == 4096


def test_a_full_queue_asks_senders_to_come_again_and_takes_nothing(stand: Stand) -> None:
    for at in range(50):
        stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-1", at_s=NOW_S + at / 100))
    with pytest.raises(Full):
        stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-1"))
    assert len(stand.rows()) == 50


def test_a_sink_that_keeps_what_it_was_given_when_it_raises_gets_everything_once(
    stand: Stand,
) -> None:
    take_samples, take_change = stand.sink.samples, stand.sink.topology

    def samples(batch: SampleBatch, node: str) -> None:
        take_samples(batch, node)
        raise StreamError("the log is away")

    def topology(change: TopologyChange) -> None:
        take_change(change)
        raise StreamError("the log is away")

    with pytest.MonkeyPatch.context() as away:
        away.setattr(stand.sink, "samples", samples)
        away.setattr(stand.sink, "topology", topology)
        stand.send(gauge("system.memory.limit", 1.0, host="a"), "gateway")
        request = gauge("system.memory.limit", 2.0, host="b")
        request.MergeFrom(gauge("system.memory.limit", 3.0, host="d"))
        stand.send(request, "gateway")
        raised = 0
        for _ in range(9):
            try:
                stand.intake.poll()
            except StreamError:
                raised += 1
    assert raised >= 2
    assert [value for *_, value in stand.rows()] == [1.0, 2.0, 3.0]
    stated = [(change.op, change.entity, change.target) for change in stand.sink.changes]
    assert len(stated) == len(set(stated))


def test_refusals_are_counted_by_name_in_an_event_and_few_are_kept(stand: Stand) -> None:
    for _ in range(100):
        stand.intake.refuse("node-1", "unreadable", payload=b"\xff" * 10_000)
    stand.intake.refuse("", "unauthenticated")
    stand.intake.poll()
    (event,) = [e for e in stand.sink.events if e.type is EventType.SCRAPE]
    assert event.data["refused_unreadable"] == 100
    assert stand.intake.strangers == {"unauthenticated": 1}
    assert len(stand.letters.kept) == 20
    assert max(len(letter.payload) for letter in stand.letters.kept) == 4096


def test_settings_refuse_an_open_door_to_the_network_without_a_token() -> None:
    sender = OtlpSenderSettings(name="a", speaks_for="cluster")
    with pytest.raises(ValueError, match="loopback"):
        OtlpSettings(host="0.0.0.0", http_port=4318, senders=(sender,))  # noqa: S104


def test_attributes_beyond_the_bound_are_not_multiplied_by_the_points(stand: Stand) -> None:
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for number in range(2_000):
        resource.resource.attributes.add(key=f"a{number}").value.string_value = "x"
    metric = resource.scope_metrics.add().metrics.add(name="hw.gpu.utilization")
    for number in range(40):
        point = metric.gauge.data_points.add(time_unix_nano=int(NOW_S * NS), as_double=0.5)
        point.attributes.add(key="hw.id").value.string_value = f"GPU-{number}"
    tracemalloc.start()
    try:
        assert stand.send(request) == 0
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(stand.rows()) == 40
    assert peak_bytes < 4_000_000


def test_labels_of_a_resource_are_bounded_and_what_goes_beyond_is_told(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.otlp.source.LABELS_MAX", 5)
    request = ExportMetricsServiceRequest()
    for number in range(9):
        one = gauge("hw.gpu.utilization", 0.5, hw__id=f"GPU-{number}")
        request.resource_metrics.extend(one.resource_metrics)
    assert stand.send(request) == 9 - len(stand.rows()) > 0


def test_lines_beyond_the_bound_of_a_message_are_counted_and_not_searched(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("collectors.otlp.log_reader.LINES_MAX", 3)
    taken = stand.intake.logs("tenant", logs("\n".join([".", ".", ".", ".", DEAD])))
    assert (taken.rejected, taken.why) == (2, "too many lines")
    stand.intake.poll()
    assert [e for e in stand.sink.events if e.type is not EventType.SCRAPE] == []


def test_whose_lines_are_is_asked_once_for_a_resource(stand: Stand) -> None:
    asked: list[str] = []

    def resolve(name: str) -> None:
        asked.append(name)

    stand.intake._logs._resolve = resolve
    stand.intake.logs("gateway", logs("\n".join("." * 60), k8s__pod__name="p"))
    assert len(asked) == 1


def test_marks_go_on_while_a_message_is_read_and_what_they_overtook_is_late(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    def dear(batches: list[SampleBatch]) -> SampleBatch:
        stand.clock.advance_to(NOW_S + 30.0)
        marking = threading.Thread(target=stand.intake.poll, daemon=True)
        marking.start()
        marking.join(5.0)
        assert not marking.is_alive(), "the mark waits for the reader"
        return merge_batches(batches)

    monkeypatch.setattr("collectors.otlp.intake.merge_batches", dear)
    assert stand.send(gauge("hw.gpu.utilization", 0.5, hw__id="GPU-1")) == 1
    assert stand.sink.marks
    assert stand.rows() == []
