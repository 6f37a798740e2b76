"""What must hold after the story, whoever was killed in it. By kube-apiserver's own audit log, the
platform's, and what the receivers heard."""

from alerting.channels.pagerduty import dedup_key
from fleetmend.model.audit import AuditVerb, verify_chain
from tests.flow.story import Flow, Told


def assert_done_once(flow: Flow, told: Told) -> None:
    """By kube-apiserver's own audit log: one quarantine, each eviction once, one release, and
    nothing else anywhere."""
    node = told.gpu.node
    (incident,) = flow.incidents_of(told.gpu)
    (session,) = (session for session in flow.sessions() if session.incident == incident.id)
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
    assert incident.causes[0].cause == "gpu_fallen_off_bus"


def assert_told(flow: Flow, told: Told) -> None:
    """The store holds the incident and its trail, and both receivers have heard of it in their own
    formats."""
    (incident,) = flow.incidents_of(told.gpu)
    assert verify_chain(flow.audit()) is None
    with flow.store.reading() as tx:
        verbs = [record.verb for record in tx.audit.about(incident.id)]
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
    ours = [page for page in pages if page["dedup_key"] == dedup_key(incident.id)]
    assert ours[0]["event_action"] == "trigger"
    assert ours[-1]["event_action"] == "resolve"
    alerts = [alert for path, b in said if path == "/alertmanager" for alert in b["alerts"]]
    about = [alert for alert in alerts if alert["labels"]["incident"] == incident.id]
    assert about[0]["status"] == "firing"
    assert about[-1]["status"] == "resolved"
