"""`fleetmend coverage`: what should be heard, how well it is, and since when it is not.

Exit codes: 0 the ledger is current (with `--check`: and nothing that was asked for is missing), 1
the store cannot be read, the ledger is not kept, or `--check` found something missing, 2 wrong
usage.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any

import typer
from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from fleetmend.cli.app import Exit, Output, app
from fleetmend.cli.config import ConfigOption
from fleetmend.cli.say import Tone, say
from fleetmend.cli.stores import open_store
from fleetmend.cli.tables import add_row
from fleetmend.clock import SystemClock
from fleetmend.model.coverage import MISSING, Coverage, Freshness
from fleetmend.model.entities import EntityKind
from fleetmend.store import CoverageFilter, Store

PAGE = 500
BEHIND_S = 60.0
"""A ledger whose last word is older is not kept by anybody. 60: it speaks every ten seconds."""
_NAMES_SHOWN = 3
_ENTRY = TypeAdapter(Coverage)


@app.command("coverage")
def coverage(
    entity: Annotated[
        str, typer.Option(help="An entity's id or key; of a node also what is in it.")
    ] = "",
    state: Annotated[Freshness | None, typer.Option(help="Only entities in this state.")] = None,
    kind: Annotated[EntityKind | None, typer.Option(help="Only entities of this kind.")] = None,
    pool: Annotated[str, typer.Option(help="Only entities of this pool.")] = "",
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 100,
    check: Annotated[
        bool, typer.Option("--check", help="Exit code 1 when anything shown is missing.")
    ] = False,
    output: Annotated[Output, typer.Option(help="table, json or jsonl.")] = Output.TABLE,
    config: ConfigOption = None,
) -> None:
    """Print the coverage ledger: how well each entity is heard, by the signals expected of it."""
    wanted = CoverageFilter(entity=entity, state=state, kind=kind, pool=pool)
    now_s = SystemClock().now_s()
    with open_store(config) as store:
        with store.reading() as tx:
            reached_s, counts = tx.coverage.reached_s(), tx.coverage.counts()
        entries = list(_entries(store, wanted, limit))
    more = bool(limit) and len(entries) > limit
    shown = entries[:limit] if limit else entries
    match output:
        case Output.JSON:
            report = {"reached_s": reached_s, "counts": counts, "items": shown}
            typer.echo(TypeAdapter(dict[str, Any]).dump_json(report, indent=2).decode())
        case Output.JSONL:
            for entry in shown:
                typer.echo(_ENTRY.dump_json(entry).decode())
        case Output.TABLE:
            _print_table(shown, counts, now_s)
    if more:
        say(f"more follow: --limit {2 * limit}, or 0 for all")
    missing = sum(entry.state in MISSING for entry in shown)
    _end(reached_s, now_s, missing=missing if check else 0)


def _end(reached_s: float | None, now_s: float, *, missing: int) -> None:
    """Say what the figures are worth. Raises typer.Exit where they are worth nothing."""
    if reached_s is None:
        say("the ledger has never been kept: is a detector running?", Tone.BAD)
    elif now_s - reached_s > BEHIND_S:
        ago = _span(now_s - reached_s)
        say(f"nobody has kept the ledger for {ago}: this is what was known then", Tone.BAD)
    elif missing:
        say(f"{missing} missing", Tone.DOUBTFUL)
    else:
        return
    raise typer.Exit(Exit.FAILED)


def _entries(store: Store, wanted: CoverageFilter, limit: int) -> Iterator[Coverage]:
    """One more than asked for, to know whether there are more; page by page."""
    after, left = "", limit + 1
    while left > 0 or not limit:
        with store.reading() as tx:
            page = tx.coverage.page(wanted, after=after, limit=min(left, PAGE) if limit else PAGE)
        if not page:
            return
        yield from page
        after, left = page[-1].entity, left - len(page)


def _print_table(
    entries: Sequence[Coverage], counts: Mapping[EntityKind, Mapping[Freshness, int]], now_s: float
) -> None:
    table = Table("entity", "state", "for", "heard", "signals", "what is missing", box=None)
    for entry in entries:
        heard = "never" if entry.heard_s is None else f"{_span(now_s - entry.heard_s)} ago"
        if entry.state is Freshness.FRESH:
            heard = f"every {_span(entry.every_s or 0.0)}"
        present = entry.expected - len(entry.missing)
        add_row(
            table,
            entry.entity,
            entry.state.value,
            _span(now_s - entry.since_s),
            heard,
            f"{present}/{entry.expected}",
            _why(entry),
        )
    console = Console(width=180, highlight=False)
    console.print(table)
    for kind, states in counts.items():
        told = ", ".join(f"{count} {state.value}" for state, count in states.items())
        console.print(f"{kind.value}: {told}")


def _why(entry: Coverage) -> str:
    """The last scrape where it failed, else the first signals that are missing."""
    names = entry.missing
    some = ", ".join(names[:_NAMES_SHOWN])
    more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
    return entry.outcome or f"{some}{more}"


def _span(span_s: float) -> str:
    """Seconds for people: `42 s`, `7 min`, `3.5 h`, `2.1 d`."""
    if span_s < 120:
        return f"{span_s:.0f} s"
    if span_s < 7200:
        return f"{span_s / 60:.0f} min"
    return f"{span_s / 3600:.1f} h" if span_s < 172_800 else f"{span_s / 86_400:.1f} d"
