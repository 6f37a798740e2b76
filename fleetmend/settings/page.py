"""The settings' page, made from the settings themselves: `fleetmend settings page >
docs/settings.md`."""

from typing import Any

from pydantic.fields import FieldInfo

from fleetmend.settings.root import Settings
from fleetmend.settings.section import Section

HEAD = """\
# Settings

Made by `fleetmend settings page`; a test compares. Later sources win: defaults, a TOML file
(`/etc/fleetmend/config.toml` or `--config`), the environment (`FLEETMEND_SECTION__KEY`; lists and
tables as JSON), flags. An unknown key is an error. `fleetmend settings show --origin` says what is
in force and where it comes from.
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
        nested = field.annotation
        if isinstance(nested, type) and issubclass(nested, Section):
            inner.append((f"{prefix}{name}.", nested, text))
        else:
            rows.append(f"| `{prefix}{name}` | {_default(field)} | {text} |")
    lines = [f"## {title}", "", *rows, ""] if len(rows) > 2 else []
    for inner_prefix, nested, text in inner:
        lines += _section(nested, inner_prefix, f"`{inner_prefix[:-1]}`: {text.rstrip('.')}")
    return lines


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value: Any = field.get_default(call_default_factory=True)
    return f"`{value!r}`".replace("|", "\\|")
