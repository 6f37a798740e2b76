"""Read runbooks from a folder. A mistake names the file, the line and the field.

Called by the composition root at start-up and by `runbook test`. Files are data from an operator:
their size is bounded, aliases (which can grow without bound) and repeated keys are refused, and
nothing in them is code but the bounded conditions.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from fleetmend.errors import BadInput
from remediation.expressions import Expression
from remediation.runbook import RunbookFile

BYTES_MAX = 32 * 1024
"""Bytes of one file; the longest shipped one has a tenth of it."""

DEPTH_MAX = 20
"""Levels of nesting: the parser's work grows with their square, and nobody reads that many."""

FILES_MAX = 500


@dataclass(frozen=True, slots=True)
class Runbook:
    """A runbook that has been read and checked."""

    file: RunbookFile
    path: Path
    match: Expression
    preconditions: tuple[Expression, ...]

    @property
    def id(self) -> str:
        """Its name, also that of its file."""
        return self.file.id


def shipped() -> Path:
    """The folder of the runbooks that come with fleetmend: inside the installed package, or beside
    it in a working tree."""
    package = Path(__file__).resolve().parent
    inside = package / "runbooks"
    return inside if inside.is_dir() else package.parent / "runbooks"


def runbooks_of(folder: str) -> tuple[Runbook, ...]:
    """Those of `remediation.runbooks`: a folder, or empty for the shipped ones. Raises BadInput."""
    return load_runbooks(Path(folder) if folder else shipped())


def load_runbooks(folder: Path) -> tuple[Runbook, ...]:
    """All `*.yaml` of a folder, in order of id. Raises BadInput for the first mistake."""
    paths = sorted(folder.glob("*.yaml"))
    if not paths:
        raise BadInput("holds no runbooks", where=str(folder), fix="Set remediation.runbooks.")
    if len(paths) > FILES_MAX:
        raise BadInput(f"holds {len(paths)} files, {FILES_MAX} are allowed", where=str(folder))
    return tuple(load_runbook(path) for path in paths)


def load_runbook(path: Path) -> Runbook:
    """One file. Raises BadInput."""
    try:
        with path.open("rb") as file:
            content = file.read(BYTES_MAX + 1)
        text = content.decode("utf-8")
    except OSError as error:
        raise BadInput(f"cannot be read: {error.strerror}", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise BadInput("is not UTF-8", where=str(path)) from error
    if len(content) > BYTES_MAX:
        raise BadInput(f"is larger than {BYTES_MAX} bytes", where=str(path))
    return parse_runbook(text, path)


def parse_runbook(text: str, path: Path) -> Runbook:
    """The text of a file. Raises BadInput."""
    _refuse_depth(text, path)
    try:
        for event in yaml.parse(text, yaml.SafeLoader):
            if isinstance(event, yaml.AliasEvent):
                mark = event.start_mark
                raise _at(path, mark.line if mark else 0, "aliases are not used here")
        tree = yaml.compose(text, yaml.SafeLoader)
        _refuse_repeated_keys(tree, path)
        content = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = mark.line + 1 if mark is not None else 1
        raise BadInput(f"is no YAML: {error.problem}", where=f"{path} line {line}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise BadInput(f"is no YAML: {first[:160]}", where=str(path)) from error
    try:
        file = RunbookFile.model_validate(content)
    except ValidationError as error:
        first_error = error.errors()[0]
        place = _place(path, tree, first_error["loc"])
        raise BadInput(first_error["msg"], where=place) from error
    if file.id != path.stem:
        raise BadInput(f"{file.id!r} is not the file's name", where=_place(path, tree, ("id",)))
    conditions = [
        Expression(condition, where=_place(path, tree, ("preconditions", index)))
        for index, condition in enumerate(file.preconditions)
    ]
    match = Expression(file.match, where=_place(path, tree, ("match",)))
    return Runbook(file, path, match, tuple(conditions))


def _refuse_depth(text: str, path: Path) -> None:
    """Looks at the bare characters, before the parser does."""
    depth = 0
    for number, line in enumerate(text.splitlines()):
        if line.lstrip().startswith("#"):
            continue
        dashes = len(line) - len(line.lstrip(" -?:"))
        if dashes > 4 * DEPTH_MAX:
            raise _at(path, number, "is indented too far")
        for character in line:
            depth += (character in "[{") - (character in "]}")
            if depth > DEPTH_MAX:
                raise _at(path, number, f"nests more than {DEPTH_MAX} levels")


def _refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    match node:
        case yaml.MappingNode():
            seen: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode):
                    raise _at(path, key.start_mark.line, "a key must be a word")
                if key.value in seen:
                    raise _at(path, key.start_mark.line, f"{key.value!r} stands there twice")
                seen.add(str(key.value))
                _refuse_repeated_keys(value, path)
        case yaml.SequenceNode():
            for item in node.value:
                _refuse_repeated_keys(item, path)


def _place(path: Path, tree: yaml.Node | None, field: Sequence[int | str]) -> str:
    """`FILE line N FIELD`: the line of the deepest part of `field` that the file has."""
    node = tree
    for part in field:
        inner = _inner(node, part)
        if inner is None:
            break
        node = inner
    name = ".".join(str(part) for part in field)
    line = node.start_mark.line + 1 if node is not None else 1
    return f"{path} line {line} {name}".rstrip()


def _inner(node: yaml.Node | None, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == str(part):
                found = value
                return found
    return None


def _at(path: Path, line: int, what: str) -> BadInput:
    """`line` counts from 0."""
    return BadInput(what, where=f"{path} line {line + 1}")
