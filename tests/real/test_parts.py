"""The real parts themselves: they start, answer and stop."""

import json

import pytest

from deploy.parts.kafka import KafkaBroker
from deploy.parts.kube import KubeCluster


@pytest.mark.kube
def test_a_cordon_is_seen_in_the_audit_log(kube: KubeCluster) -> None:
    """The audit log is the independent witness of the flow tests, so it must really write."""
    kube.add_gpu_nodes(["audit-0"])

    records = [json.loads(line) for line in kube.audit_log.read_text().splitlines()]

    # A creation that was refused names no object in its record; other tests try some on purpose.
    creations = [
        r["objectRef"]["name"]
        for r in records
        if (r["verb"], r["objectRef"]["resource"]) == ("create", "nodes")
        and r["responseStatus"]["code"] == 201
    ]
    assert creations.count("audit-0") == 1


@pytest.mark.kafka
def test_the_broker_answers(kafka_broker: KafkaBroker) -> None:
    assert kafka_broker.daemon.process.poll() is None
