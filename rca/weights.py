"""What one sign weighs: how surely it is there, how well its time fits, how far it is due.

The terms of the formula in `rca.infer`, one function each. Pure.
"""

import math

from fleetmend.model.events import Witness
from rca.evidence import Observation
from rca.knowledge.model import Expected
from rca.scene import Scene

_LEARNED_CONFIDENCE = 0.3
"""What a learned detector's word on one signal counts at most, however sure it is of the whole."""
_SCORE_SCALE = 6.0
"""Robust deviations over which the doubt about an odd number falls by e: 5, where detectors begin
to speak, leaves 0.78, and 15 leaves 0.96. Telemetry has heavy tails."""
_FACT_DOUBT = 0.01
"""Share of events and states of no confidence that are not there at all: lines that somebody
forged or a pattern misread."""
_LATE_WEIGHT = 0.3
"""Weight that a late sign keeps beside a fault that goes on: some symptoms take minutes."""
_LATE_DECAY_S = 15.0


def log_likelihood(scene: Scene, seen: Observation, unexplained: float) -> float:
    """ln of q * P + (1 - q) * (1 - P), with P from the leak and what is left unexplained."""
    probability = 1.0 - (1.0 - scene.leak(seen.sign)) * unexplained
    surely = reliability(seen)
    return math.log(surely * probability + (1.0 - surely) * (1.0 - probability))


def reliability(seen: Observation) -> float:
    """How surely a sign is there; a half says nothing."""
    if seen.witness is Witness.MODEL:
        return (1.0 + min(seen.confidence, _LEARNED_CONFIDENCE)) / 2.0
    if seen.factual:
        return 1.0 - _FACT_DOUBT * (1.0 - seen.confidence)
    return 1.0 - 0.5 * math.exp(-abs(seen.symptom.score) / _SCORE_SCALE)


def fitting(scene: Scene, seen: Observation, expected: Expected, onset_s: float) -> float:
    """How well either of a sign's onsets fits a fault that began at `onset_s`."""
    return max(timely(scene, at_s - onset_s, expected) for at_s in (seen.onset_s, seen.latest_s))


def timely(scene: Scene, lag_s: float, expected: Expected) -> float:
    """1 within the lag range and the tolerance, falling by e for each decay time outside."""
    tolerance_s = scene.settings.order_tolerance_s
    early_s = expected.lag_min_s - tolerance_s - lag_s
    late_s = lag_s - expected.lag_max_s - tolerance_s
    return math.exp(-max(0.0, early_s, late_s) / scene.settings.order_decay_s)


def late_weight(scene: Scene, lag_s: float, expected: Expected) -> float:
    """Like `timely` for a fault that goes on: late signs stay possible, early ones do not."""
    if lag_s <= expected.lag_max_s:
        return timely(scene, lag_s, expected)
    if expected.lasting:
        return 1.0
    late_s = max(0.0, lag_s - expected.lag_max_s - scene.settings.order_tolerance_s)
    return max(_LATE_WEIGHT, math.exp(-late_s / _LATE_DECAY_S))


def due_share(scene: Scene, onset_s: float, expected: Expected) -> float:
    """How far a sign should be seen by now: 0 before its first moment, 1 from its last on."""
    since_s = scene.now_s - onset_s - scene.settings.detection_s - expected.lag_min_s
    span_s = max(expected.lag_max_s - expected.lag_min_s, 1e-9)
    return min(1.0, max(0.0, since_s / span_s))
