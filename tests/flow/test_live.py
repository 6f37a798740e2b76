"""The live flow on real Kafka, PostgreSQL and Kubernetes, with every role a process of its own."""

import pytest

from fleetmend.model.audit import AuditVerb
from fleetmend.model.entities import key_of
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident
from fleetmend.model.plans import Refusal
from fleetmend.streams.codec import decode
from fleetmend.streams.topics import Topic
from tests.flow.proof import assert_done_once, assert_told
from tests.flow.story import Flow, Parts, Told, running, tell

pytestmark = pytest.mark.flow


def test_a_lost_gpu_is_cordoned_drained_held_and_given_back(parts: Parts) -> None:
    with running(parts) as flow:
        told = tell(flow, 1)

        assert_done_once(flow, told)
        assert_told(flow, told)
        assert_cordoned_before_the_second_witness(flow, told)
        assert_the_drain_waited_for_it(flow)


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
