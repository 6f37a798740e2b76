"""Pages from templates: autoescape always, undefined names are errors, the words and figures as
filters.

Texts of templates are marked with `_()` for gettext; the catalogue of plain English is the only one
so far, and sentences composed in Python (`console.present`) are English.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup

from console import figures, words
from console.assets import Assets
from console.auth import Operator, Operators
from console.names import NameBook
from fleetmend.clock import Clock
from fleetmend.settings.console import ConsoleRole

THEMES = frozenset({"dark", "light"})
THEME_COOKIE = "fleetmend_theme"


class Frame(Protocol):
    """What every page's frame shows besides the request: counts and the halt."""

    def __call__(self, *, known: bool) -> dict[str, Any]:
        """For somebody who is known, or not."""
        ...


class Pages:
    """Renders templates. `frame` is called once for each whole page."""

    def __init__(
        self,
        *,
        assets: Assets,
        operators: Operators,
        clock: Clock,
        frame: Frame,
        names: NameBook,
        text_max: int,
    ) -> None:
        self._operators = operators
        self._clock = clock
        self._frame = frame
        self._names = names
        self._env = _environment(assets, text_max)

    def page(
        self, request: Request, template: str, *, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """A whole page, or a part of one, with what its frame needs."""
        theme = request.cookies.get(THEME_COOKIE, "")
        reader = self._operators.who(request)

        def may(role: ConsoleRole) -> Operator | None:
            return reader if reader is not None and reader.may(role) else None

        text = self._env.get_template(template).render(
            theme=theme if theme in THEMES else "",
            path=request.url.path,
            reader=reader,
            operator=may(ConsoleRole.OPERATOR),
            admin=may(ConsoleRole.ADMIN),
            open_to_all=self._operators.open_to_all,
            now_s=self._clock.now_s(),
            in_words=self._names.in_text,
            **self._frame(known=reader is not None),
            **context,
        )
        return HTMLResponse(text, status)


@functools.cache
def _environment(assets: Assets, text_max: int) -> Environment:
    """Templates are compiled once for a process, however many consoles it makes."""
    env = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    env.install_null_translations(newstyle=True)  # type: ignore[attr-defined]
    env.globals |= {"asset": assets.url, "icon": _icons(assets)}
    env.filters |= {
        "span": figures.span,
        "percent": figures.percent,
        "iso": figures.iso,
        "clock": figures.clock,
        "humanise": words.humanise,
        "line": _line(text_max),
    }
    return env


def _line(text_max: int) -> Callable[[Context, object], str]:
    @pass_context
    def line(context: Context, text: object) -> str:
        """Text as pages show it: named, on one line, bounded."""
        in_words = context.get("in_words")
        said = str(text)
        return words.shorten(in_words(said) if in_words else said, text_max)

    return line


def _icons(assets: Assets) -> Callable[[str], Markup]:
    # Our own build output, never telemetry: the only text that is not escaped.
    made = {name: Markup(svg) for name, svg in assets.icons.items()}  # noqa: S704
    return lambda name: made.get(name, Markup(""))
