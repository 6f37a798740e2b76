"""Numbers, spans and names as people read them. Pure; called by view builders and as template
filters."""

import math
from datetime import UTC, datetime

from console.words import NAME_CHARS_MAX, UNIT_CHARS_MAX, shorten
from fleetmend.errors import BadInput
from fleetmend.model.entities import EntityId, split_entity_id

NOTHING = "\N{EN DASH}"
"""Stands where there is no figure."""

_SPANS = ((86_400.0, "d"), (3_600.0, "h"), (60.0, "m"), (1.0, "s"))
_SI = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_IEC = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"))
_SMALL_S = ((1e-3, "ms"), (1e-6, "µs"))
_UNITS = {"Cel": "°C", "1": "", "%": "%"}
"""UCUM spellings that people write otherwise; annotations in braces are made plain by rule."""


def span(seconds: float) -> str:
    """A length of time in its two largest units: `6m 12s`, `2h 05m`, `1.4s` below ten seconds."""
    if not math.isfinite(seconds):
        return "unknown"
    left = max(0.0, seconds)
    if left < 10 and left != round(left):
        return f"{left:.1f}s"
    left = float(round(left))
    for i, (size, unit) in enumerate(_SPANS):
        if left >= size:
            head, rest = divmod(left, size)
            if i + 1 == len(_SPANS):
                return f"{head:.0f}{unit}"
            small, small_unit = _SPANS[i + 1]
            if head >= 1e5:
                return f"{plain(head)}{unit}"
            return f"{head:.0f}{unit} {rest // small:02.0f}{small_unit}"
    return "0s"


def plain(value: float) -> str:
    """A number with as many digits as help: `1,980`, `0.41`, `1.83`."""
    if not math.isfinite(value):
        return "not a number"
    size = abs(value)
    if size >= 1e15:
        return f"{value:.3g}"
    if size >= 100 or value == round(value):
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}"
    if size >= 0.01:
        return f"{value:.2f}"
    return f"{value:.2g}"


def quantity(value: float | None, unit: str) -> str:
    """A value with its unit (UCUM, as the signal catalogue has it; `ratio` for shares) as people
    write it: bytes in GiB, short spans in ms, shares in %."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return "not a number"
    if unit == "ratio":
        return f"{plain(value * 100)} %"
    if unit in ("By", "By/s"):
        return _scaled(value, _IEC, "B") + unit[2:]
    if unit == "s" and abs(value) < 1:
        size, word = next(((s, w) for s, w in _SMALL_S if abs(value) >= s), _SMALL_S[0])
        return f"{plain(value / size)} {word}"
    shown = unit_word(unit)
    return _scaled(value, _SI, shown) if abs(value) >= 1e5 else f"{plain(value)} {shown}".rstrip()


def unit_word(unit: str) -> str:
    """`Cel` -> `°C`, `{token}/s` -> `tokens/s`, `{request}` -> nothing: the name says it."""
    if unit in _UNITS:
        return _UNITS[unit]
    if unit.startswith("{"):
        thing, _, per = shorten(unit, UNIT_CHARS_MAX)[1:].partition("}")
        return f"{thing}s{per}" if per else ""
    return shorten(unit, UNIT_CHARS_MAX)


def _scaled(value: float, sizes: tuple[tuple[float, str], ...], unit: str) -> str:
    for size, prefix in sizes:
        if abs(value) >= size:
            word = prefix if sizes is _IEC else f"{prefix}{unit}"
            return f"{plain(value / size)} {word}"
    return f"{plain(value)} {unit}".rstrip()


def percent(share: float) -> str:
    """A share from 0 to 1 as a whole percentage."""
    return f"{share:.0%}" if math.isfinite(share) else NOTHING


def iso(time_s: float) -> str:
    """UTC in ISO 8601 with milliseconds: the machine's form inside <time>."""
    return _utc(time_s).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def clock(time_s: float) -> str:
    """UTC time of day, for readers without scripts."""
    return _utc(time_s).strftime("%H:%M:%S")


def _utc(time_s: float) -> datetime:
    """A moment, kept within what calendars know: times come from telemetry."""
    return datetime.fromtimestamp(min(max(time_s, 0.0), 253_402_300_799.0), UTC)


def name_of(entity: EntityId) -> str:
    """What people call an entity: its key. Text that is no entity id is shown as it is."""
    try:
        return shorten(split_entity_id(entity)[2], NAME_CHARS_MAX)
    except BadInput:
        return shorten(entity, NAME_CHARS_MAX)


def kind_word(entity: EntityId) -> str:
    """The kind of an entity as a word."""
    try:
        return split_entity_id(entity)[1].value
    except BadInput:
        return "entity"
