"""Silence on its whole way: from what is heard to a finding, an incident that pages, and a refusal.

Each state of the ledger is brought about in a fleet that detection watches; root cause names the
domain, and admission is asked about a node in it.
"""

from collections.abc import Callable

import pytest

from fleetmend.model.coverage import MISSING, Freshness
from fleetmend.model.entities import EntityId, EntityKind, RelationKind, TopologyChange, TopologyOp
from fleetmend.model.entities import entity_id as name
from fleetmend.model.events import Witness
from fleetmend.model.findings import Finding
from fleetmend.model.incidents import Incident, Severity
from fleetmend.model.plans import ActionKind, Refusal, Session, SessionState
from fleetmend.ports.cluster import NodeState
from fleetmend.ports.halt import HaltState
from fleetmend.settings.rca import RcaSettings
from fleetmend.streams.port import Record, TickInput
from fleetmend.streams.topics import Topic
from rca.stage import RootCauseStage
from remediation.admit import admit
from remediation.gather import Asking, Books, Reading, facts_for
from remediation.picture import Picture
from remediation.plan import plan
from remediation.policy import policy_from
from remediation.sample import sample_incident
from tests.unit.detection.play import Rows, relation
from tests.unit.detection.scraped import (
    CLUSTER,
    ENGINES,
    GPUS,
    NODES,
    POOL,
    SCRAPER,
    Watch,
    beat,
    calm,
    scrape,
    scraped,
)
from tests.unit.remediation.bench import RUNBOOKS, auto

NEW = name("c", EntityKind.GPU, "GPU-99")
ADDED = [
    TopologyChange(-1.0, TopologyOp.ENTITY, NEW),
    relation(NEW, NODES[0], RelationKind.PART_OF, at_s=-1.0),
]


def fresh() -> Watch:
    watch = calm(40)
    watch.run(5)
    return watch


def late() -> Watch:
    watch = calm(40)
    watch.run(4, silent={GPUS[0]})
    return watch


def absent() -> Watch:
    watch = calm(40)
    watch.run(8, silent={GPUS[0]})
    return watch


def frozen() -> Watch:
    """A GPU's figures stand still while all others move."""
    watch = calm(40)
    feed = watch.feed

    def still(rows: Rows, **more: object) -> None:
        rows |= {(GPUS[0], "gpu.power"): 300.0, (GPUS[0], "gpu.sm_clock"): 1980.0}
        feed(rows, **more)  # type: ignore[arg-type]

    watch.feed = still  # type: ignore[method-assign]
    watch.run(24)
    return watch


def never() -> Watch:
    """A GPU of the node that the topology knows for six minutes, and nobody ever heard."""
    watch = Watch(topology=[*scraped(), *ADDED])
    watch.run(31)
    watch.feed({}, skip=328)
    watch.run(1)
    return watch


MADE: dict[Freshness, tuple[Callable[[], Watch], EntityId]] = {
    Freshness.FRESH: (fresh, GPUS[0]),
    Freshness.LATE: (late, GPUS[0]),
    Freshness.FROZEN: (frozen, GPUS[0]),
    Freshness.ABSENT: (absent, GPUS[0]),
    Freshness.NEVER: (never, NEW),
}


def refusals(findings: list[Finding], node: EntityId) -> set[Refusal]:
    """Why a drain of a node with a lost GPU is refused, in the light of these findings."""
    settings = auto()
    picture = Picture(settings)
    for change in [*scraped(), *ADDED]:
        picture.change(change)
    for finding in findings:
        picture.find(finding)
    gpu = GPUS[2 * NODES.index(node)]
    incident = sample_incident(
        cause="gpu_fallen_off_bus",
        entity=gpu,
        witnesses=(Witness.KERNEL_LOG, Witness.DRIVER_EVENT),
        symptom="xid.79",
    )
    made = plan(incident, picture.topology, RUNBOOKS, 0.0)
    assert made is not None
    step = next(s for s in made.steps if s.action is ActionKind.DRAIN)
    running = SessionState.RUNNING
    session = Session("s", made.id, 1, "i", made.entity, running, 1, "w", 0.0, (), 0.0, 0.0)
    facts = facts_for(
        Asking(step, made, incident, session),
        Reading(found=True, node=NodeState("n", "1", True, False, (), "", "")),
        Books(),
        picture,
        policy_from(settings),
        {runbook.id: runbook for runbook in RUNBOOKS},
        HaltState(halted=False),
        1e6,
    )
    return {reason.refusal for reason in admit(step, made, facts, policy_from(settings)).reasons}


@pytest.mark.parametrize("state", Freshness, ids=lambda state: state.value)
def test_a_state_refuses_exactly_when_it_is_missing(state: Freshness) -> None:
    """Frozen counts as missing; late does not: it may still come."""
    make, entity = MADE[state]
    watch = make()
    if state is not Freshness.FRESH:
        assert watch.states[entity] is state
    said = refusals(watch.findings, NODES[0])
    assert (Refusal.TELEMETRY_STALE in said) is (state in MISSING)
    assert Refusal.TELEMETRY_STALE not in refusals(watch.findings, NODES[1])


def quiet_scraper() -> Watch:
    watch = calm(40)
    watch.run(20, mute=True)
    return watch


def quiet_pool() -> Watch:
    watch = calm(40)
    every = {*NODES, *ENGINES}
    watch.second(unread=every, events=[scrape(e, 40.5, "refused") for e in every])
    watch.run(14, unread=every)
    return watch


def quiet_cluster() -> Watch:
    watch = calm(40)
    both = [name("c", EntityKind.COLLECTOR, key) for key in ("prometheus", "kubernetes")]
    for at in range(40, 61):
        watch.second(events=[beat(c, at + 0.5) for c in both] if at % 10 == 0 else ())
    watch.run(40, mute=True)
    return watch


DOMAINS = [(quiet_scraper, SCRAPER), (quiet_pool, POOL), (quiet_cluster, CLUSTER)]


@pytest.mark.parametrize(("make", "domain"), DOMAINS, ids=[d for _, d in DOMAINS])
def test_a_quiet_domain_refuses_for_every_unit_in_it(
    make: Callable[[], Watch], domain: EntityId
) -> None:
    """One finding stands for all its children: none of them may be touched."""
    watch = make()
    assert watch.open.keys() == {domain}
    for node in NODES:
        said = refusals(watch.findings, node)
        assert {Refusal.TELEMETRY_STALE, Refusal.DOMAIN_SILENT} <= said


def incidents(watch: Watch) -> list[Incident]:
    """What root cause makes of what coverage said."""
    stage = RootCauseStage(RcaSettings())
    found: dict[str, Incident] = {}
    by_tick: dict[int, list[Finding]] = {}
    for finding in watch.findings:
        by_tick.setdefault(finding.tick, []).append(finding)
    for tick in range(watch.play.tick + 1):
        parts: list[tuple[Topic, object]] = [(Topic.FINDINGS, f) for f in by_tick.get(tick, ())]
        if tick == 0:
            parts = [(Topic.TOPOLOGY, change) for change in scraped()]
        records = tuple(
            Record(topic, 0, tick, payload)  # type: ignore[arg-type]
            for topic, payload in parts
        )
        for out in stage.fold(TickInput(tick, tick, tick + 1, tick + 1.2, records)):
            if isinstance(out.payload, Incident):
                found[out.payload.id] = out.payload
    return list(found.values())


@pytest.mark.parametrize(("make", "domain"), DOMAINS, ids=[d for _, d in DOMAINS])
def test_a_quiet_domain_is_one_incident_that_pages_and_names_it(
    make: Callable[[], Watch], domain: EntityId
) -> None:
    watch = make()
    watch.run(12, mute=domain != POOL, unread={*NODES, *ENGINES})
    (incident,) = incidents(watch)

    assert incident.entity == domain
    assert incident.severity is Severity.P1
    assert incident.causes[0].cause == "telemetry_loss"
    assert "a whole domain" in incident.severity_reason
    assert domain.split("/")[1] in incident.title
    (evidence,) = incident.evidence[:1]
    assert evidence.detail
    if domain == POOL:
        assert "connection refused" in evidence.detail
