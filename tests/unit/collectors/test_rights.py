"""An engine's page speaks of its engine; anything else on it is left out."""

from collectors.fetch import Fetched, Outcome
from collectors.target import Target
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, kind_of
from fleetmend.settings.collectors import CollectorsSettings, TargetSettings
from fleetmend.signals.catalogue import catalogue

PAGE = """\
vllm:num_requests_running{model_name="tiny",engine="0"} 3
DCGM_FI_DEV_XID_ERRORS{gpu="0",UUID="GPU-victim",Hostname="node-9",pod="p",namespace="n"} 79
DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="GPU-victim",Hostname="node-9",pci_bus_id="0000:05:00"} 30
"""


def test_a_tenants_engine_cannot_speak_for_a_gpu_or_say_who_runs_where() -> None:
    settings = TargetSettings(url="http://127.0.0.1:1/metrics", kind="engine", engine="e-1")
    target = Target(
        settings,
        CollectorsSettings(),
        cluster="c",
        catalogue=catalogue(),
        resolve=lambda _: None,
    )

    scrape = target.read(Fetched(Outcome.OK, PAGE.encode(), status=200), 100.0)

    spoken = {scrape.batch.entities[code] for code in scrape.batch.entity}
    named = {change.entity for change in scrape.changes}
    kinds = {kind_of(EntityId(entity)) for entity in spoken | named}
    assert EntityKind.ENGINE in kinds
    assert kinds <= {EntityKind.ENGINE, EntityKind.MODEL}
    assert RelationKind.RUNS_ON not in {change.relation for change in scrape.changes}
