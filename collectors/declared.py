"""What a page says of its metrics' types and units, and what of that is new.

`collectors.exposition` collects it, `collectors.target` compares it: a metric that is another kind
of thing than before has no growth in between, and one whose unit changed under the same name would
give wrong figures.
"""

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

Declared = Mapping[str, tuple[str, str]]
"""Type and unit by the name of a family; empty where the page does not say."""

_SHARED_CHARS = 65_536
"""Longest comments of a page that are remembered for the pages of other targets."""
_PARTS = ("_total", "_bucket", "_sum", "_count", "_created", "_info")
_NAME_CHARS = 200
_UNITS_MAX = 4096
"""Families of one target whose units are remembered."""


def declared_by(comments: Sequence[str]) -> Declared:
    """What the comment lines of a page say; the same object for the same lines."""
    if sum(map(len, comments)) > _SHARED_CHARS:
        return _declared(tuple(comments))
    return _shared(tuple(comments))


def _declared(comments: tuple[str, ...]) -> Declared:
    said: dict[str, tuple[str, str]] = {}
    for line in comments:
        words = line.split(None, 4)
        if len(words) < 4 or words[0] != "#" or words[1] not in ("TYPE", "UNIT"):
            continue
        name = words[2][:_NAME_CHARS]
        kind, unit = said.get(name, ("", ""))
        word = words[3][:_NAME_CHARS]
        said[name] = (word, unit) if words[1] == "TYPE" else (kind, word)
    return MappingProxyType(said)


_shared = functools.lru_cache(512)(_declared)


class Declarations:
    """What one page has said so far."""

    def __init__(self) -> None:
        self._last: Declared | None = None
        self._units: dict[str, str] = {}
        """The unit that each family was first said to have."""

    def compare(self, now: Declared | None) -> tuple[frozenset[str], frozenset[str]]:
        """Families whose type is another than on the page before, and families whose unit is not
        the one that they had first."""
        before, self._last = self._last, now or self._last
        if now is None:
            return frozenset(), frozenset()
        if now is before:
            return frozenset(), self._other_units(now)
        retyped = frozenset(
            name
            for name, (kind, _) in now.items()
            if before is not None and kind and before.get(name, (kind, ""))[0] not in ("", kind)
        )
        for name, (_, unit) in now.items():
            if unit and len(self._units) < _UNITS_MAX:
                self._units.setdefault(name, unit)
        return retyped, self._other_units(now)

    def _other_units(self, now: Declared) -> frozenset[str]:
        first = self._units.items()
        return frozenset(
            name for name, unit in first if now.get(name, ("", unit))[1] not in ("", unit)
        )


def family_of(name: str, families: frozenset[str]) -> str:
    """Which of the families a sample of this name belongs to; empty when to none."""
    if name in families:
        return name
    for part in _PARTS:
        if name.endswith(part) and name.removesuffix(part) in families:
            return name.removesuffix(part)
    return ""
