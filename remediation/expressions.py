"""CEL expressions of runbooks: compiled once, bounded, and checked before anything relies on them.

Called by `remediation.runbook` when files are read and by `remediation.plan` for each incident.
The language has no loops, but its list macros multiply when nested: their number, the text and the
lists are bounded, so that the worst evaluation takes some tens of milliseconds and the usual one
some microseconds.
"""

import re
from collections.abc import Mapping
from typing import Protocol, cast

import cel

from fleetmend.errors import BadInput

LENGTH_MAX = 500
"""Characters of one expression."""

MACROS_MAX = 2
"""List macros (`all`, `exists`, `map` ...) in one expression, counted as words wherever they stand:
three nested over lists of a few hundred take seconds."""

ITEMS_MAX = 64
"""Items of a list that expressions see; evidence beyond it is left out, weakest first."""

FIELDS: Mapping[str, frozenset[str]] = {
    "cause": frozenset({"name", "score", "role", "kind", "runbooks"}),
    "incident": frozenset({"severity", "status", "provisional", "abstention"}),
    "evidence": frozenset({"symptom", "direction", "witness", "kind", "supports"}),
    "node": frozenset({"name", "pool", "rack"}),
}
"""What an expression may name: `evidence` is a list of items with these fields, the others are
single. `remediation.plan.context_of` fills them."""

FUNCTIONS = frozenset({"size", "matches", "startsWith", "endsWith", "contains", "has"})
_OPERATOR = re.compile(r"[@_!?:&|<>=+\-*/%\[\]]")
_MACRO = re.compile(r"\b(?:all|exists|exists_one|map|filter)\b")
_BINDS = re.compile(r"\b(?:all|exists|exists_one|map|filter)\s*\(\s*([A-Za-z_][A-Za-z0-9_]*)\s*,")
_SELECT = re.compile(r"(?<![\w.\"'])([A-Za-z_]\w*)\s*\.\s*([A-Za-z_]\w*)(?!\w*\s*\()")

Value = None | bool | int | float | str | list["Value"] | dict[str, "Value"]


class _Program(Protocol):
    """What the library's compiled program can do, as far as it is used here."""

    def execute(self, context: Mapping[str, Value]) -> object: ...

    def variables(self) -> list[str]: ...

    def functions(self) -> list[str]: ...


class Expression:
    """One compiled condition."""

    def __init__(self, text: str, *, where: str) -> None:
        """`where` names file, line and field. Raises BadInput when the text is no condition that
        may be used here."""
        self.text = text
        self._where = where
        if len(text) > LENGTH_MAX:
            raise self._bad(f"has {len(text)} characters, {LENGTH_MAX} are allowed")
        macros = len(_MACRO.findall(text))
        if macros > MACROS_MAX:
            raise self._bad(f"has {macros} list macros, {MACROS_MAX} are allowed")
        try:
            self._program = cast(_Program, cel.compile(text))
        except ValueError as error:
            reason = str(error).split("ERROR: ")[-1].splitlines()[0][:160]
            raise self._bad(f"is no CEL: {reason}") from error
        bound = set(_BINDS.findall(text))
        unknown = set(self._program.variables()) - set(FIELDS) - bound
        if unknown:
            raise self._bad(f"names {sorted(unknown)[0]!r}, known are {sorted(FIELDS)}")
        for owner, name in _SELECT.findall(text):
            fields = FIELDS.get("evidence" if owner in bound else owner, frozenset({name}))
            if owner != "evidence" and name not in fields:
                raise self._bad(f"asks for {owner}.{name}, known are {sorted(fields)}")
        for name in self._program.functions():
            if not _OPERATOR.search(name) and name not in FUNCTIONS:
                raise self._bad(f"calls {name!r}, allowed are {sorted(FUNCTIONS)}")

    def holds(self, context: Mapping[str, Value]) -> bool:
        """Its value. Raises BadInput when it asks for what is not there or is no condition."""
        try:
            value = self._program.execute(context)
        except (LookupError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
            raise self._bad(f"cannot be evaluated: {str(error)[:160]}") from error
        if not isinstance(value, bool):
            raise self._bad(f"gives {type(value).__name__}, a condition is wanted")
        return value

    def _bad(self, what: str) -> BadInput:
        return BadInput(f"{self.text[:60]!r} {what}", where=self._where)
