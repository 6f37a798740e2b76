"""The settings' page, made from the settings themselves: `fleetmend settings page >
docs/settings.md`."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, get_args, get_origin

from pydantic.fields import FieldInfo

from fleetmend.settings.root import Settings
from fleetmend.settings.section import Section

HEAD = """\
# Settings

Made by `fleetmend settings page`; a test compares. Later sources win: defaults, a TOML file
(`/etc/fleetmend/config.toml` or `--config`), the environment (`FLEETMEND_SECTION__KEY`; lists and
tables as JSON), flags. An unknown key is an error. `fleetmend settings show --origin` says what is
in force and where it comes from. `[]` stands for each entry of a list, `NAME` for
a key of your own.
"""


def settings_page() -> str:
    """The whole page as Markdown."""
    parts = [HEAD, *_section(Settings, "", "The whole")]
    return "\n".join(parts)


def _section(section: type[Section], prefix: str, title: str) -> list[str]:
    inner: list[tuple[str, type[Section], str]] = []
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, field in section.model_fields.items():
        text = " ".join((field.description or "").split()).replace("|", "\\|")
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            inner.append((f"{prefix}{name}", field.annotation, text))
            continue
        rows.append(f"| `{prefix}{name}` | {_default(field)} | {text} |")
        inner += [
            (f"{prefix}{name}{place}", entry, text) for place, entry in entries(field.annotation)
        ]
    lines = [f"## {title}", "", *rows, ""] if len(rows) > 2 else []
    for place, nested, text in inner:
        lines += _section(nested, f"{place}.", f"`{place}`: {text.rstrip('.')}")
    return lines


def entries(annotation: Any) -> Iterator[tuple[str, type[Section]]]:
    """Sections inside a list (`[]`) or a table (`.NAME`), with how their place is written; a
    section that may be left out (`X | None`) has no such suffix."""
    suffix = {dict: ".NAME", Mapping: ".NAME", tuple: "[]", list: "[]"}.get(
        get_origin(annotation), ""
    )
    for inner in get_args(annotation):
        if isinstance(inner, type) and issubclass(inner, Section):
            yield suffix, inner
        else:
            yield from ((suffix + deeper, entry) for deeper, entry in entries(inner))


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    if isinstance(value, StrEnum):
        value = value.value
    return f"`{value!r}`".replace("|", "\\|")
