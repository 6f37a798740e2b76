"""Strategies for everything that can lie in the log, and one fixed payload of each kind."""

import numpy as np
from hypothesis import strategies as st

from fleetmend.model.entities import (
    EntityId,
    EntityKind,
    RelationKind,
    TopologyChange,
    TopologyOp,
    entity_id,
)
from fleetmend.model.events import Event, EventType, Witness
from fleetmend.model.findings import Direction, Finding, FindingState, Symptom
from fleetmend.model.incidents import (
    Abstention,
    Cause,
    CauseRole,
    Evidence,
    Incident,
    IncidentStatus,
    Severity,
)
from fleetmend.model.samples import SampleBatch
from fleetmend.model.ticks import Claim, Cut, Mark
from fleetmend.streams.port import Payload, RawRecord
from fleetmend.streams.topics import Topic

GPU = EntityId("lab/gpu/GPU-5f")

FIXED: dict[str, Payload] = {
    "samples": SampleBatch.from_rows(
        [
            (1_800_000_000.25, GPU, "gpu.sm_clock", 1980.0),
            (1_800_000_000.25, GPU, "gpu.temperature", float("nan")),
            (1_800_000_001.25, "lab/gpu/GPU-60", "gpu.sm_clock", float("inf")),
        ]
    ),
    "event": Event(
        id="0a1b",
        source="collector/kmsg/node-3",
        type=EventType.XID,
        time_s=1_800_000_000.123456,
        subject=GPU,
        node="node-3",
        data={"xid": 79, "pci": "0000:18:00", "witness": "kernel_log", "fatal": True, "age": 0.5},
    ),
    "topology": TopologyChange(
        at_s=1_800_000_000.5,
        op=TopologyOp.RELATION,
        entity=GPU,
        target="lab/node/node-3",
        relation=RelationKind.PART_OF,
        attributes={"slot": "3"},
    ),
    "finding": Finding(
        id="f-1",
        detector="rules",
        entity=GPU,
        state=FindingState.OPEN,
        witness=Witness.KERNEL_LOG,
        tick=1_800_000_000,
        at_s=1_800_000_001.0,
        onset_s=1_800_000_000.1,
        confidence=0.9,
        symptoms=(Symptom("xid.79", Direction.PRESENT, 1.0, 1_800_000_000.1),),
        reason="sticky_xid",
        detail="fell off the bus",
    ),
    "incident": Incident(
        id="i-1",
        version=1,
        status=IncidentStatus.OPEN,
        provisional=True,
        severity=Severity.P0,
        severity_reason="gpu_lost",
        entity=GPU,
        title="GPU lost",
        opened_at_s=1_800_000_001.0,
        updated_at_s=1_800_000_001.0,
        onset_s=1_800_000_000.1,
        causes=(
            Cause("gpu_off_bus", GPU, 0.9, CauseRole.ROOT, ("E1",), (), (GPU,), ("gpu-lost",)),
        ),
        evidence=(
            Evidence(
                "E1",
                "f-1",
                GPU,
                "xid.79",
                Direction.PRESENT,
                Witness.KERNEL_LOG,
                1_800_000_000.1,
                1.0,
            ),
        ),
        affected=(GPU,),
        abstention=Abstention.NONE,
        open_findings=1,
    ),
    "cut": Cut(
        fold="detection",
        tick=1_800_000_000,
        positions={"events/0": 3, "samples/1": 17},
        reached_s=1_800_000_001.2,
        idle=("events/3",),
        runner="detector-0-1-5f1c09aa",
    ),
    "claim": Claim(fold="detection", runner="detector-0-1-5f1c09aa", at_s=1_800_000_000.3),
    "mark": Mark(producer="collector", at_s=1_800_000_000.4),
}

# Lone surrogates are no UTF-8, so no name holds one.
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
times = st.floats(-1e9, 4e9)
floats = st.floats(allow_nan=False, allow_infinity=False)
optional_floats = st.none() | floats


@st.composite
def batches(draw: st.DrawFn) -> SampleBatch:
    """Batches of 1 to 40 samples; values may be anything that a float can be."""
    rows = draw(
        st.lists(
            st.tuples(
                times,
                st.sampled_from(["lab/gpu/a", "lab/gpu/b", "lab/gpu/ü"]),
                st.sampled_from(["x", "y"]),
                st.floats(),
            ),
            min_size=1,
            max_size=40,
        )
    )
    return SampleBatch.from_rows(rows)


entities = names.map(lambda key: entity_id("lab", EntityKind.GPU, key))
events = st.builds(
    Event,
    id=names,
    source=names,
    type=st.sampled_from(EventType),
    # The wire carries microseconds, so round trips are exact for times on that grid.
    time_s=times.map(lambda t: round(t, 6)),
    subject=entities,
    node=names | st.just(""),
    data=st.dictionaries(names, names | st.integers(-(2**60), 2**60) | floats | st.booleans()),
)
changes = st.builds(
    TopologyChange,
    at_s=times,
    op=st.sampled_from(TopologyOp),
    entity=entities,
    target=entities,
    relation=st.none() | st.sampled_from(RelationKind),
    attributes=st.dictionaries(names, names, max_size=4),
)
symptoms = st.builds(
    Symptom,
    name=names,
    direction=st.sampled_from(Direction),
    score=floats,
    onset_s=floats,
    observed=optional_floats,
    expected_low=optional_floats,
    expected_high=optional_floats,
    unit=names,
)
findings = st.builds(
    Finding,
    id=names,
    detector=names,
    entity=entities,
    state=st.sampled_from(FindingState),
    witness=st.sampled_from(Witness),
    tick=st.integers(0, 2**40),
    at_s=times,
    onset_s=floats,
    confidence=floats,
    symptoms=st.lists(symptoms, max_size=3).map(tuple),
    reason=names,
    detail=names,
)
cuts = st.builds(
    Cut,
    fold=names,
    tick=st.integers(0, 2**40),
    positions=st.dictionaries(names, st.integers(0, 2**60)),
    reached_s=times,
    idle=st.lists(names, max_size=3).map(tuple),
    runner=st.just("") | names,
)
claims = st.builds(Claim, fold=names, runner=names, at_s=times)
marks = st.builds(Mark, producer=names, at_s=times, tick=st.integers(-1, 2**40))
plain_payloads = events | changes | findings | cuts | claims | marks


def raw(
    headers: dict[str, str], value: bytes, *, topic: Topic = Topic.EVENTS, offset: int = 0
) -> RawRecord:
    """A record as a log would hand it over."""
    return RawRecord(topic, 0, offset, "key", headers, value, append_s=0.0)


def same_batch(left: SampleBatch, right: SampleBatch) -> bool:
    """Equal sample for sample; NaN equals NaN."""
    return (
        np.array_equal(left.time_s, right.time_s)
        and np.array_equal(left.value, right.value, equal_nan=True)
        and [left.entities[code] for code in left.entity]
        == [right.entities[code] for code in right.entity]
        and [left.signals[code] for code in left.signal]
        == [right.signals[code] for code in right.signal]
    )
