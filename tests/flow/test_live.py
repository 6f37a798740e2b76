"""The live flow on real Kafka, PostgreSQL and Kubernetes, with every role a process of its own."""

from pathlib import Path

import pytest

from deploy.parts.kube import KubeCluster
from fleetmend.model.audit import AuditVerb, verify_chain
from fleetmend.model.entities import key_of
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Refusal
from fleetmend.streams.codec import decode
from fleetmend.streams.topics import Topic
from tests.flow.story import Flow, Parts, Told, running, tell

pytestmark = pytest.mark.flow


@pytest.fixture
def parts(kube: KubeCluster, kafka_bootstrap: str, postgres_url: str, tmp_path: Path) -> Parts:
    """The real parts."""
    return Parts(kube, kafka_bootstrap, postgres_url, tmp_path)


def test_a_lost_gpu_is_cordoned_drained_held_and_given_back(parts: Parts) -> None:
    with running(parts) as flow:
        told = tell(flow, 1)

        assert_done_once(flow, told)
        assert_told(flow, told)
        assert_cordoned_before_the_second_witness(flow, told)
        assert_the_drain_waited_for_it(flow)


def assert_done_once(flow: Flow, told: Told) -> None:
    """By kube-apiserver's own audit log: one quarantine, each eviction once, one release, and
    nothing else anywhere."""
    node = told.gpu.node
    (incident,) = flow.incidents()
    (session,) = flow.sessions()
    quarantine, release = flow.witness.patches()
    assert (quarantine.node, quarantine.unschedulable) == (node, True)
    assert quarantine.session == session.id
    assert (release.node, release.unschedulable, release.session) == (node, False, "")
    assert flow.witness.evictions(201) == dict.fromkeys({*told.engines, told.guard}, 1)
    assert flow.witness.verbs() == {("patch", "nodes"), ("create", "pods/eviction")}
    left = flow.pool.node(node)
    assert not left["spec"].get("unschedulable")
    assert not left["spec"].get("taints")
    assert not [key for key in left["metadata"]["annotations"] if key.startswith("fleetmend.io/")]
    assert key_of(incident.entity) == told.gpu.uuid
    assert incident.causes[0].cause == "gpu_fallen_off_bus"


def assert_told(flow: Flow, told: Told) -> None:
    """The store holds the incident and its trail, and both receivers have heard of it in their own
    formats."""
    audit = flow.audit()
    assert verify_chain(audit) is None
    verbs = [record.verb for record in audit]
    for verb in (
        AuditVerb.INCIDENT_OPENED,
        AuditVerb.PLAN_PROPOSED,
        AuditVerb.INCIDENT_RESOLVED,
        AuditVerb.GAVE_BACK,
    ):
        assert verbs.count(verb) == 1, verb
    assert flow.receiver.faults == []
    said = [(r.path, r.json()) for r in flow.receiver.received]
    pages = [body for path, body in said if path == "/pagerduty"]
    assert pages[0]["event_action"] == "trigger"
    assert pages[-1]["event_action"] == "resolve"
    assert len({page["dedup_key"] for page in pages}) == 1
    alerts = [body["alerts"][0] for path, body in said if path == "/alertmanager"]
    assert alerts[0]["status"] == "firing"
    assert alerts[-1]["status"] == "resolved"


def assert_cordoned_before_the_second_witness(flow: Flow, told: Told) -> None:
    """The express lane: the kernel's word alone led to the cordon, before its tick was over or the
    GPU was missed."""
    first = next(
        record.payload
        for raw in flow.records(Topic.INCIDENTS)
        if isinstance((record := decode(raw)).payload, Incident)
    )
    assert first.provisional
    silent_s = min(
        raw.append_s
        for raw in flow.records(Topic.FINDINGS)
        if raw.append_s > told.line_s
        and isinstance(finding := decode(raw).payload, Finding)
        and finding.witness is Witness.SILENCE
        and key_of(finding.entity) == told.gpu.uuid
    )
    cordoned = next(record for record in flow.audit() if record.detail.get("action") == "cordon")
    assert cordoned.at_s < silent_s


def assert_the_drain_waited_for_it(flow: Flow) -> None:
    """Until then admission said why not, by name."""
    refused = [r for r in flow.audit() if r.verb is AuditVerb.VERDICT]
    assert any(Refusal.WITNESSES_MISSING.value in record.detail for record in refused)
