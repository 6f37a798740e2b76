"""Read and check the knowledge files. Called at start-up by `rca.stage` and by tests.

A bad file stops the start: the error names the file and the line or field.
"""

import functools
import tomllib
from collections.abc import Iterable, Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from fleetmend.errors import SettingsError
from fleetmend.model.entities import EntityKind, RelationKind
from fleetmend.model.findings import Direction
from rca.knowledge.consequences import followed
from rca.knowledge.forms import ACTS_FORM, SIGNS_FORM, ClassForm, ExpectedForm, ForbiddenForm
from rca.knowledge.model import (
    PEER,
    SELF,
    Expected,
    FaultClass,
    Forbidden,
    Knowledge,
    Match,
    Sign,
    Step,
)

_SILENT_SIGNS = ("silent", "stale")
_SILENCED = 0.25
"""Probability that a fault which may silence something does so: exporters differ."""
_SILENCED_LAG_S = 20.0

_PLACES: frozenset[str] = frozenset({SELF, PEER, *(kind.value for kind in EntityKind)})


@functools.cache
def knowledge() -> Knowledge:
    """The knowledge of this version. Raises SettingsError naming file and field."""
    return load_knowledge(built_in())


def built_in() -> Traversable:
    """The folder of the files that come with this version."""
    return resources.files("rca.knowledge")


def load_knowledge(folder: Traversable, *, extra: Path | None = None) -> Knowledge:
    """Knowledge from `signs.toml`, `acts.toml` and `classes/*.toml` of a folder.

    `extra` is a folder of further classes; one of a known name replaces the built-in. Raises
    SettingsError.
    """
    signs = _signs(folder / "signs.toml")
    classes: dict[str, FaultClass] = {}
    files = [f for f in (folder / "classes").iterdir() if f.name.endswith(".toml")]
    further = sorted(extra.glob("*.toml")) if extra is not None else []
    for file in [*sorted(files, key=lambda file: file.name), *further]:
        found = _fault_class(file, signs)
        classes[found.name] = found
    whole = {name: followed(fault, classes) for name, fault in classes.items()}
    return Knowledge(signs, whole, _acts(folder / "acts.toml", signs))


def _acts(
    file: Traversable, signs: Mapping[str, Sign]
) -> Mapping[str, Mapping[EntityKind, frozenset[str]]]:
    try:
        read = ACTS_FORM.validate_python(_toml(file))
    except ValidationError as error:
        raise _bad(file, error) from error
    for act, shown in read.items():
        for kind, names in shown.items():
            for name in names:
                if name not in signs or kind not in signs[name].kinds:
                    raise SettingsError(
                        f"no sign {name!r} on {kind.value}", where=f"{file.name} {act.value}"
                    )
    return {
        act.value: {kind: frozenset(names) for kind, names in shown.items()}
        for act, shown in read.items()
    }


def _signs(file: Traversable) -> Mapping[str, Sign]:
    try:
        read = SIGNS_FORM.validate_python(_toml(file))
    except ValidationError as error:
        raise _bad(file, error) from error
    for name, sign in read.items():
        if sign.opposite and sign.opposite not in read:
            raise SettingsError(
                f"unknown sign {sign.opposite!r}", where=f"{file.name} {name}.opposite"
            )
    return {
        name: Sign(
            name=name,
            title=sign.title,
            kinds=frozenset(sign.kinds),
            matches=tuple(_match(text) for text in sign.any),
            leak=sign.leak,
            channel=sign.channel,
            heard=sign.heard,
            echo=sign.echo,
            opposite=sign.opposite,
        )
        for name, sign in read.items()
    }


def _fault_class(file: Traversable, signs: Mapping[str, Sign]) -> FaultClass:
    try:
        read = ClassForm.model_validate(_toml(file))
    except ValidationError as error:
        raise _bad(file, error) from error
    _check_references(file, read, signs)
    return FaultClass(
        name=file.name.removesuffix(".toml"),
        title=read.title,
        kinds=frozenset(read.kinds),
        prior=read.prior,
        spreads=tuple(_step(file, text) for text in read.spreads),
        depth=read.depth,
        needs=tuple(read.needs),
        expected=_expected(read),
        forbidden=tuple(Forbidden(s.sign, s.on, s.likelihood) for s in read.must_not_see),
        leads_to=tuple(read.leads_to),
        silences=tuple(read.silences),
        changes=tuple(read.changes),
        change_needed=read.change_needed,
        effect=read.effect,
        severity=read.severity,
        runbooks=tuple(read.runbooks),
        next_check=read.next_check,
        source=read.source,
    )


def _expected(read: ClassForm) -> tuple[Expected, ...]:
    """The symptoms as written, and silence wherever the class may silence something."""
    written = [
        Expected(
            sign=s.sign,
            on=s.on,
            strength=s.strength,
            lag_min_s=s.lag_s[0],
            lag_max_s=s.lag_s[1],
            decisive=s.decisive,
            share_min=s.share_min,
        )
        for s in read.symptoms
    ]
    named = {(s.sign, s.on) for s in written}
    silences = [
        Expected(sign, place, _SILENCED, 0.0, _SILENCED_LAG_S, decisive=False, share_min=0.0)
        for place in read.silences
        for sign in _SILENT_SIGNS
        if (sign, place) not in named
    ]
    return (*written, *silences)


def _check_references(file: Traversable, read: ClassForm, signs: Mapping[str, Sign]) -> None:
    """Signs must exist, and places be `self`, `peer` or a kind that a sign can be on."""
    fields: list[
        tuple[Literal["symptoms", "must_not_see"], Iterable[ExpectedForm | ForbiddenForm]]
    ] = [
        ("symptoms", read.symptoms),
        ("must_not_see", read.must_not_see),
    ]
    for field, uses in fields:
        for index, use in enumerate(uses):
            where = f"{file.name} {field}.{index}"
            if use.sign not in signs:
                raise SettingsError(f"unknown sign {use.sign!r}", where=f"{where}.sign")
            if use.on not in _PLACES:
                raise SettingsError(f"unknown place {use.on!r}", where=f"{where}.on")
            kinds = set(read.kinds) if use.on in (SELF, PEER) else {EntityKind(use.on)}
            if not kinds & signs[use.sign].kinds:
                raise SettingsError(
                    f"sign {use.sign!r} is never on {use.on!r}",
                    where=f"{where}.on",
                    fix=f"It is on: {', '.join(sorted(signs[use.sign].kinds))}.",
                )
    for field_name, places in (("silences", read.silences), ("needs", read.needs)):
        for place in places:
            if place not in _PLACES:
                raise SettingsError(f"unknown place {place!r}", where=f"{file.name} {field_name}")


def _toml(file: Traversable) -> dict[str, object]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise SettingsError(str(error), where=file.name) from error
    except tomllib.TOMLDecodeError as error:  # its text names line and column
        raise SettingsError(str(error), where=file.name) from error


def _bad(file: Traversable, error: ValidationError) -> SettingsError:
    first = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"])
    return SettingsError(first["msg"], where=f"{file.name} {field}")


def _match(text: str) -> Match:
    if text.startswith("@"):
        return Match(text[1:], None)
    name, _, direction = text.partition(" ")
    return Match(name, Direction(direction))


def _step(file: Traversable, text: str) -> Step:
    try:
        return Step(RelationKind(text[1:]), text[0] == ">")
    except ValueError as error:
        raise SettingsError(f"unknown relation {text!r}", where=f"{file.name} spreads") from error
