"""Rank hypotheses by how well they explain what is seen: a leaky noisy-OR in log-odds.

A sign s is seen with probability

    P(s | H) = 1 - (1 - leak_s) * prod over h in H of (1 - w_h * strength_hs)

where H are the faults assumed, `leak` and `strength` come from the knowledge files, and w is the
weight that the onset leaves (leaky noisy-OR: Henrion 1989, "Some practical issues in constructing
belief networks"; for diagnosis with many faults: Shwe et al. 1991, QMR-DT). A finding is virtual
evidence of reliability q (Pearl 1988, section 2.2.2):

    L(s seen | H) = q * P + (1 - q) * (1 - P)

with q = 1 - exp(-|z| / 6) / 2 for a number that lies z robust deviations from what was expected,
q = 1 - 0.01 * (1 - c) for an event or state of confidence c, which is there or not, and
q = (1 + min(c, 0.3)) / 2 for what was only learned. Lawful moves of load are in the leaks.

What a hypothesis h adds to faults A already assumed is, in natural logarithms,

    gain(h | A) = ln(prior / (1 - prior))
                + sum over seen signs that h expects of  ln L(s | A + h) - ln L(s | A),
                  of one sign on several entities the greatest
                + sum over expected signs not seen  of   ln(1 - due * strength), bounded
                + sum over seen signs it forbids    of   ln(q * likelihood + 1 - q)
                + ln(change factor) when a change came before that this fault follows.

So signs that A explains already add nothing (explaining away), and every further fault pays its
prior (parsimony). A sign counts as not seen only if it can be heard, and only as far as it is
`due`: it has a lag range, and detectors need time. The fault's own onset is the one among the
onsets seen that makes the gain largest; signs outside their lag range from it weigh
exp(-excess / decay).

Pure: no state, no clock. Called by `rca.incident`.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rca.evidence import Key
from rca.knowledge.model import Expected
from rca.outlook import Outlook, outlook
from rca.scene import Hypothesis, Scene
from rca.tally import Weighed, tally
from rca.weights import due_share, late_weight, reliability

Explained = Mapping[Key, float]
"""For each sign the probability that none of the faults assumed so far makes it seen."""

NOTHING: Explained = {}

_LACKING_MOST = 3.5
"""What all missing signs together count at most: they are not independent, because an exporter or a
detector that misses one misses others as well."""
_LACKING_DECISIVE = 1.0
"""The same beside a sign that is enough to name the fault."""
_ANCHORS_MAX = 24
"""Onsets that are tried for one fault."""
_OLD_S = 20.0
"""A forbidden sign older than the fault by this is another story."""


@dataclass(frozen=True, slots=True)
class Ranked:
    """A hypothesis with what speaks for and against it."""

    hypothesis: Hypothesis
    log_odds: float
    onset_s: float
    supports: tuple[Key, ...]
    """Seen signs that it explains better than chance, the weightiest first."""
    absent: tuple[Key, ...]
    """Signs that should be seen by now and are not; of several possible places the first."""
    against: tuple[Key, ...]
    """Seen signs that it forbids."""
    unheard: float
    """Share of the expected signs that cannot be heard."""
    decisive: bool
    """One of its supports is enough to name it."""
    explains: Mapping[Key, float]
    """Probability with which it alone makes each of its seen signs seen."""


def evaluate(scene: Scene, hypothesis: Hypothesis, *, assumed: Explained = NOTHING) -> Ranked:
    """The gain of one hypothesis."""
    fault = scene.fault(hypothesis)
    view = outlook(scene, hypothesis)
    anchors = _anchors({at_s for p in view.present for at_s in (p.seen.onset_s, p.seen.latest_s)})
    onsets_s = anchors or [scene.now_s]
    seen = tally(scene, view.present, onsets_s, assumed, consequences=False)
    # The same sign is missing in thousands of places at times, and each says the same.
    wanted = Counter(expected for _, expected in view.missing)
    others = [_besides(scene, hypothesis, view, wanted, at_s) for at_s in onsets_s]
    prior = math.log(fault.prior / (1.0 - fault.prior))
    decisive = [_decides(view, weighed) for weighed in seen]
    log_odds = [
        prior + weighed.told + max(one.lacking, -_lacking_most(surely)) + one.further
        for weighed, one, surely in zip(seen, others, decisive, strict=True)
    ]
    # Of equal gains the earliest onset: `anchors` is ascending and max keeps the first.
    best = max(range(len(onsets_s)), key=lambda row: round(log_odds[row], 9))
    supports, explains = _supports(view, seen[best])
    return Ranked(
        hypothesis=hypothesis,
        log_odds=log_odds[best],
        onset_s=onsets_s[best],
        supports=supports,
        absent=_absent(scene, view, onsets_s[best]),
        against=others[best].against,
        unheard=view.unheard,
        decisive=decisive[best],
        explains=explains,
    )


def rank(
    scene: Scene, hypotheses: Iterable[Hypothesis], *, assumed: Explained = NOTHING
) -> list[Ranked]:
    """All of these hypotheses, best first; equals in order of fault class and entity."""
    found = [evaluate(scene, h, assumed=assumed) for h in sorted(set(hypotheses))]
    return sorted(found, key=lambda r: (-round(r.log_odds, 9), r.hypothesis))


def explain_away(assumed: Explained, explains: Mapping[Key, float]) -> dict[Key, float]:
    """What stays unexplained when a fault that explains this much is assumed as well."""
    left = dict(assumed)
    for key, probability in explains.items():
        left[key] = left.get(key, 1.0) * (1.0 - probability)
    return left


def lasting(scene: Scene, hypothesis: Hypothesis, *, onset_s: float) -> float:
    """Log-odds from what was seen in time with a fault that began at `onset_s` and is seen still;
    what is missing by now does not count against it."""
    fault = scene.fault(hypothesis)
    prior = math.log(fault.prior / (1.0 - fault.prior))
    present = outlook(scene, hypothesis).present
    (seen,) = tally(scene, present, [onset_s], NOTHING, consequences=True)
    return prior + seen.told


def standing(scene: Scene, hypothesis: Hypothesis, *, onset_s: float) -> Mapping[Key, float]:
    """What a fault that is known to last since `onset_s` explains of what is seen: each expected
    sign since then with its strength, and less of it the later it comes."""
    explained = scene.standing.get((hypothesis, onset_s))
    if explained is not None:
        return explained
    explained = scene.standing[hypothesis, onset_s] = {}
    for expected, places in scene.expects(hypothesis):
        for seen in scene.seen_on(expected.sign, hypothesis, expected.on, places):
            weight = late_weight(scene, seen.latest_s - onset_s, expected)
            strength = weight * expected.strength
            explained[seen.key] = max(strength, explained.get(seen.key, 0.0))
    return explained


def posterior(ranked: Ranked, rivals: Sequence[Ranked]) -> float:
    """Probability of one hypothesis among its rivals and "none of them": a softmax in which none
    has log-odds 0. `rivals` may hold the hypothesis itself."""
    others = [r.log_odds for r in rivals if r.hypothesis != ranked.hypothesis]
    top = max([0.0, ranked.log_odds, *others])
    total = sum(math.exp(value - top) for value in (0.0, ranked.log_odds, *others))
    return math.exp(ranked.log_odds - top) / total


def rivals_of(first: Ranked, ranked: Sequence[Ranked]) -> list[Ranked]:
    """Hypotheses that would explain some of the same signs instead.

    The same fault class on another entity with the very same support is no rival: the ends of a
    link look alike, and the cause is known whichever end is named.
    """
    support = set(first.supports)
    return [
        other
        for other in ranked
        if other.hypothesis != first.hypothesis
        and support & set(other.supports)
        and not (
            other.hypothesis.fault == first.hypothesis.fault and set(other.supports) == support
        )
    ]


def _anchors(onsets_s: Iterable[float]) -> list[float]:
    """Moments at which the fault may have begun, ascending: of each second the first, and of many
    seconds some, so that a storm of signs costs no more than a few."""
    firsts: dict[int, float] = {}
    for onset_s in sorted(onsets_s):
        firsts.setdefault(math.floor(onset_s), onset_s)
    found = list(firsts.values())
    return found[:: -(-len(found) // _ANCHORS_MAX)] if found else found


@dataclass(frozen=True, slots=True)
class _Besides:
    """What speaks of a fault that began at one moment, besides the signs that it shows."""

    lacking: float
    """Log-odds from what is missing, not yet bounded."""
    further: float
    """Log-odds from what it forbids, and from changes."""
    against: tuple[Key, ...]


def _besides(
    scene: Scene,
    hypothesis: Hypothesis,
    view: Outlook,
    wanted: Mapping[Expected, int],
    onset_s: float,
) -> _Besides:
    fault = scene.fault(hypothesis)
    lacking = sum(
        count * math.log(1.0 - due_share(scene, onset_s, expected) * expected.strength)
        for expected, count in wanted.items()
    )
    further, against = 0.0, []
    for seen, likelihood in view.against:
        # What came long before the fault has nothing to do with it.
        if seen.latest_s < onset_s - scene.settings.order_tolerance_s - _OLD_S:
            continue
        surely = reliability(seen)
        further += math.log(surely * likelihood + 1.0 - surely)
        against.append(seen.key)
    change = scene.recent_change(hypothesis, onset_s)
    if change is not None:
        further += math.log(scene.settings.change_factor)
    elif fault.change_needed:
        further = -math.inf
    return _Besides(lacking, further, tuple(against))


def _absent(scene: Scene, view: Outlook, onset_s: float) -> tuple[Key, ...]:
    """What should be seen by now and is not."""
    return tuple(
        key
        for key, expected in view.missing
        if due_share(scene, onset_s, expected) * expected.strength >= 0.5
    )


def _lacking_most(decisive: bool) -> float:
    return _LACKING_DECISIVE if decisive else _LACKING_MOST


def _decides(view: Outlook, seen: Weighed) -> bool:
    """A sign that is enough to name the fault speaks for it, in time."""
    return any(
        item.expected.decisive and gain > 0.0 and weight > 0.5
        for item, gain, weight in zip(view.present, seen.gains, seen.weights, strict=True)
    )


def _supports(view: Outlook, seen: Weighed) -> tuple[tuple[Key, ...], dict[Key, float]]:
    """Seen signs that it explains better than chance, the weightiest first, and how likely it
    makes each seen sign."""
    explains: dict[Key, float] = {}
    weighty: list[tuple[float, Key]] = []
    for item, strength, gain in zip(view.present, seen.strengths, seen.gains, strict=True):
        key = item.seen.key
        explains[key] = max(strength, explains.get(key, 0.0))
        if gain > 0.0:
            weighty.append((-round(gain, 9), key))
    weighty.sort()
    return tuple(dict.fromkeys(key for _, key in weighty)), explains
