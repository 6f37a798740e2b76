"""Answers as records: events of type `probe`, samples, and the signature of a golden prompt that
missed so often that it is told.
"""

import math

from collectors.probe.golden import Verdict
from collectors.probe.replica import Golden, Replica
from collectors.probe.request import Answer, Ask, Outcome
from fleetmend.model.events import Event, EventType, Witness, event_id
from fleetmend.model.samples import SampleBatch

_TELLING = frozenset({Outcome.ANSWERED, Outcome.STATUS, Outcome.REFUSED, Outcome.UNREACHABLE})
"""Outcomes that have a status, or 0 for nobody there."""
_LINE_MAX = 200
_TOKEN_MAX = 40
_PROMPT_MAX = 60


def samples(replica: Replica, answer: Answer, golden: Golden | None, at_s: float) -> SampleBatch:
    """What an answer measured. A time-out has no status: 0 says that nobody listens, as after a
    crash, and whoever takes the request and is silent is alive."""
    figures: dict[str, float] = {}
    if answer.outcome in _TELLING:
        figures["engine.probe_status"] = float(answer.status)
    if answer.ok is not None:
        figures["engine.canary_ok"] = float(answer.ok)
    if answer.outcome is Outcome.ANSWERED:
        figures["engine.canary_time"] = answer.duration_s
    if golden is not None and golden.checked.verdict is not Verdict.UNSTATED:
        figures["engine.golden_checked"] = float(golden.checked_ever)
        figures["engine.golden_missed"] = float(golden.missed_ever)
        if math.isfinite(golden.checked.distance):
            figures["engine.golden_distance"] = golden.checked.distance
    return SampleBatch.from_rows(
        [(at_s, replica.subject, name, value) for name, value in figures.items()]
    )


def probe_event(
    replica: Replica, ask: Ask, answer: Answer, golden: Golden | None, at_s: float
) -> Event:
    """One request. `ok` is left out where the answer says nothing about the engine."""
    data: dict[str, str | int | float | bool] = {
        "asked": "golden" if ask.golden else "completion",
        "outcome": answer.word,
        "duration_s": answer.duration_s,
        "witness": Witness.PROBE.value,
    }
    if answer.ok is not None:
        data["ok"] = answer.ok
    if golden is not None:
        data["golden"] = golden.checked.verdict.value
        data["misses"] = golden.memory.in_a_row
        data["checked"] = golden.memory.checked
        data["missed"] = golden.memory.missed
    return _event(replica, EventType.PROBE, data, at_s)


def held_event(replica: Replica, at_s: float) -> Event:
    """It was not asked: it has a queue and works."""
    data: dict[str, str | int | float | bool] = {
        "asked": "completion",
        "outcome": "busy",
        "duration_s": 0.0,
        "witness": Witness.PROBE.value,
    }
    return _event(replica, EventType.PROBE, data, at_s)


def mismatch_event(replica: Replica, golden: Golden, answer: Answer, at_s: float) -> Event:
    """A golden prompt has missed its reference too often in a row."""
    found, memory = golden.checked, golden.memory
    if found.verdict is Verdict.OTHER_TOKEN:
        there = "".join(answer.tokens[found.at_token : found.at_token + 1])[:_TOKEN_MAX]
        what = f"token {found.at_token} is {there!r}"
    else:
        what = f"log-probability of token {found.at_token} is off by {found.distance:.3f}"
    line = (
        f"golden prompt {golden.prompt[:_PROMPT_MAX]!r}: {what}; "
        f"{memory.in_a_row} misses in a row, {memory.missed} of {memory.checked} ever"
    )
    data: dict[str, str | int | float | bool] = {
        "signature": "golden_mismatch",
        "line": line[:_LINE_MAX],
        "witness": Witness.PROBE.value,
        "misses": memory.in_a_row,
        "checked": memory.checked,
        "missed": memory.missed,
        "at_token": found.at_token,
    }
    if math.isfinite(found.distance):
        data["distance"] = found.distance
    return _event(replica, EventType.LOG_SIGNATURE, data, at_s)


def _event(
    replica: Replica,
    kind: EventType,
    data: dict[str, str | int | float | bool],
    at_s: float,
) -> Event:
    source = f"collector/probe/{replica.settings.engine}"
    node = replica.settings.node or replica.settings.engine
    identity = event_id(source, kind.value, repr(at_s))
    return Event(identity, source, kind, at_s, replica.subject, node, data)
