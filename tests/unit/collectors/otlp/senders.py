"""What a node's exporter and an engine send in OpenTelemetry's semantic conventions: the test with
a real Collector sends it, and the messages kept from that test are judged by it."""

from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
)
from opentelemetry.proto.common.v1.common_pb2 import KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import AggregationTemporality as Way

NS = 1_000_000_000
GPUS = 8
ENGINE = "5d1f0a1e-0000-4000-8000-00000000000a"
BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Those that the semantic conventions advise for `gen_ai.server.request.duration`."""
LINES = (
    "NVRM: Xid (PCI:0000:19:00): 79, pid=1234, name=python, GPU has fallen off the bus.",
    "Out of memory: Killed process 4242 (python3) total-vm:100kB, anon-rss:50kB, file-rss:0kB",
    "systemd[1]: Started Daily apt download activities.",
)


def gpu_id(number: int) -> str:
    """The UUID of a GPU of the node."""
    return f"GPU-{number:08x}-aaaa-bbbb-cccc-0123456789ab"


def readings(*, at_ns: int, step: int) -> ExportMetricsServiceRequest:
    """The metrics of the `step`-th second: eight GPUs and one engine in a pod."""
    request = ExportMetricsServiceRequest()
    node = request.resource_metrics.add().scope_metrics.add()
    node.scope.name = "gpu-exporter"
    gauges = {"hw.gpu.utilization": 0.5, "hw.gpu.memory.usage": 2**30, "hw.temperature": 60.0}
    for name, value in gauges.items():
        metric = node.metrics.add(name=name, unit="1")
        for gpu in range(GPUS):
            point = metric.gauge.data_points.add(time_unix_nano=at_ns)
            if isinstance(value, int):
                point.as_int = value * (gpu + 1)
            else:
                point.as_double = value + gpu / 16 + step / 128
            _label(point.attributes, **{"hw.id": gpu_id(gpu), "hw.type": "gpu"})
    energy = node.metrics.add(name="hw.energy", unit="J")
    energy.sum.is_monotonic = True
    energy.sum.aggregation_temporality = Way.AGGREGATION_TEMPORALITY_CUMULATIVE
    for gpu in range(GPUS):
        point = energy.sum.data_points.add(
            time_unix_nano=at_ns, start_time_unix_nano=at_ns - (step + 1) * NS
        )
        point.as_double = 700.0 * step + gpu
        _label(point.attributes, **{"hw.id": gpu_id(gpu), "hw.type": "gpu"})
    _engine(request, at_ns=at_ns, step=step)
    return request


def _engine(request: ExportMetricsServiceRequest, *, at_ns: int, step: int) -> None:
    resource = request.resource_metrics.add()
    pod = {"k8s.pod.uid": ENGINE, "k8s.pod.name": "vllm-0", "k8s.namespace.name": "llm"}
    _label(resource.resource.attributes, **pod)
    scope = resource.scope_metrics.add()
    for name in ("gen_ai.server.request.duration", "gen_ai.server.time_to_first_token"):
        metric = scope.metrics.add(name=name, unit="s")
        metric.histogram.aggregation_temporality = Way.AGGREGATION_TEMPORALITY_CUMULATIVE
        requests = 10 * step
        counts = [0] * (len(BOUNDS) + 1)
        counts[6] = requests
        point = metric.histogram.data_points.add(
            time_unix_nano=at_ns,
            start_time_unix_nano=at_ns - (step + 1) * NS,
            count=requests,
            sum=0.5 * requests,
            bucket_counts=counts,
            explicit_bounds=BOUNDS,
        )
        model = {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m"}
        _label(point.attributes, **model)
        point.exemplars.add(as_double=0.5, time_unix_nano=at_ns, trace_id=bytes(range(16)))
    memory = scope.metrics.add(name="k8s.pod.memory.rss", unit="By")
    memory.gauge.data_points.add(time_unix_nano=at_ns, as_int=3 * 2**30)


def kernel_lines(*, at_ns: int) -> ExportLogsServiceRequest:
    """Lines of the node's kernel log."""
    request = ExportLogsServiceRequest()
    records = request.resource_logs.add().scope_logs.add().log_records
    for line in LINES:
        record = records.add(time_unix_nano=at_ns)
        record.body.string_value = line
    return request


def _label(attributes: object, **labels: str) -> None:
    for key, text in labels.items():
        pair = KeyValue(key=key)
        pair.value.string_value = text
        attributes.append(pair)  # type: ignore[attr-defined]  # a repeated field of protobuf
