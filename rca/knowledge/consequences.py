"""What a fault shows through the faults that it leads to.

A GPU that is lost kills its engine, and whatever a dying engine shows follows from the GPU: on the
engine, and on the other GPUs that it ran on. Called by `rca.knowledge.load` when all classes are
known; one step deep, since classes name their consequences themselves.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace

from fleetmend.errors import SettingsError
from rca.knowledge.model import PEER, SELF, Expected, FaultClass

FOLLOWS = 0.9
"""Probability that the second fault comes of the first, where it can. A judgement."""


def followed(fault: FaultClass, classes: Mapping[str, FaultClass]) -> FaultClass:
    """The class with the signs of its consequences among those that it expects. Raises
    SettingsError for a consequence that is unknown."""
    expected = {(one.sign, one.on): one for one in fault.expected}
    for name in fault.leads_to:
        if name not in classes:
            raise SettingsError(f"unknown class {name!r}", where=f"{fault.name}.toml leads_to")
        for shown in _seen_from(fault, classes[name]):
            own = expected.get((shown.sign, shown.on))
            expected[shown.sign, shown.on] = shown if own is None else _either(own, shown)
    return replace(fault, expected=tuple(expected.values()))


def _seen_from(fault: FaultClass, second: FaultClass) -> Iterator[Expected]:
    """The signs of the second fault with their places as the first fault reaches them."""
    for sign in second.expected:
        for place in _places(fault, second, sign.on):
            yield Expected(
                sign=sign.sign,
                on=place,
                strength=FOLLOWS * sign.strength,
                lag_min_s=0.0,
                lag_max_s=sign.lag_max_s,
                decisive=False,
                share_min=0.0,
                lasting=True,
                consequence=True,
            )


def _places(fault: FaultClass, second: FaultClass, on: str) -> tuple[str, ...]:
    own = {kind.value for kind in fault.kinds}
    kinds = {kind.value for kind in second.kinds} if on in (SELF, PEER) else {on}
    return tuple(
        place for kind in sorted(kinds) for place in ((SELF, PEER) if kind in own else (kind,))
    )


def _either(own: Expected, shown: Expected) -> Expected:
    """A sign that the fault shows itself, and that its consequences show again later."""
    if own.consequence:
        return own if own.strength >= shown.strength else shown
    return replace(own, strength=max(own.strength, shown.strength), lasting=True)
