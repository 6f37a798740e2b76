"""What a signal is called and in which unit people read it, from the signal catalogue."""

from console.words import UNIT_CHARS_MAX, humanise, shorten
from fleetmend.signals.catalogue import catalogue
from fleetmend.signals.records import Shape, Signal

_PLAIN_ONES = frozenset({"node.load1", "node.load5"})
"""Dimensionless gauges that are no shares."""


def known(name: str) -> Signal | None:
    """The catalogue's entry, when the name is a canonical signal."""
    return catalogue().signals.get(name)


def title(name: str) -> str:
    """`gpu.sm_clock` -> `SM clock`: the entity beside it says what it belongs to."""
    return humanise(name.split(".", 1)[1]) if known(name) is not None else humanise(name)


def meaning(name: str) -> str:
    """The catalogue's sentence about a signal, or nothing."""
    signal = known(name)
    return "" if signal is None else signal.meaning


def reading_unit(name: str, unit: str) -> str:
    """The unit in which to show values of a signal: dimensionless gauges are shares, as a rule."""
    signal = known(name)
    if signal is None:
        return shorten(unit, UNIT_CHARS_MAX)
    if signal.unit == "1" and signal.shape is Shape.GAUGE and name not in _PLAIN_ONES:
        return "ratio"
    return shorten(unit, UNIT_CHARS_MAX) or signal.unit
