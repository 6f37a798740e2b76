"""`fleetmend audit`: read the audit log and prove that nobody has changed it."""

from typing import Annotated

import typer
from pydantic import TypeAdapter

from fleetmend.cli.app import Exit, app
from fleetmend.cli.config import ConfigOption
from fleetmend.cli.say import Tone, say
from fleetmend.cli.stores import open_store
from fleetmend.model.audit import AuditRecord, Breach, ChainHead, ChainWalk
from fleetmend.store import Store

audit_app = typer.Typer(help="Read and verify the audit log.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

PAGE = 500
_RECORD = TypeAdapter(AuditRecord)


@audit_app.command("verify")
def verify(
    since: Annotated[
        str, typer.Option(help="A head that was kept elsewhere, as `audit head` printed it.")
    ] = "",
    config: ConfigOption = None,
) -> None:
    """Walk the hash chain from its first record, through the head given; exit code 1 at the first
    breach."""
    through = ChainHead.parse(since) if since else None
    with open_store(config) as store:
        walk = store.walk(through=through)
        breach = _walk(store, walk)
    if breach is not None:
        say(f"broken at record {breach.seq}: {breach.what}", Tone.BAD)
        raise typer.Exit(Exit.FAILED)
    proof = f", passes {through.seq} as it was" if through else ""
    if walk.keyed_from:
        proof += f", keyed from {walk.keyed_from}"
    say(f"{walk.at.seq} records, the chain holds{proof}", Tone.GOOD)


@audit_app.command("head")
def head(config: ConfigOption = None) -> None:
    """Print the end of the chain, to be kept where this database's owner cannot write."""
    with open_store(config) as store, store.reading() as tx:
        typer.echo(str(tx.audit.end()))


@audit_app.command("show")
def show(
    after: Annotated[int, typer.Option(help="Only records after this number.")] = 0,
    limit: Annotated[int, typer.Option(min=0, help="At most so many; 0 for all.")] = 100,
    config: ConfigOption = None,
) -> None:
    """Print audit records as JSON lines, oldest first."""
    seq, left = after, limit
    with open_store(config) as store:
        while True:
            with store.reading() as tx:
                end = tx.audit.head()
                records = tx.audit.page(seq, min(left, PAGE) if limit else PAGE)
            for record in records:
                typer.echo(_RECORD.dump_json(record).decode())
            seq, left = (records[-1].seq if records else seq), left - len(records)
            if not records or seq >= end or (limit and left <= 0):
                break
    if seq < end:
        say(f"{end - seq} more records follow: --after {seq}")


def _walk(store: Store, walk: ChainWalk) -> Breach | None:
    """To the end, in steps: a long log needs no memory."""
    while True:
        with store.reading() as tx:
            records, end = tx.audit.page(walk.at.seq, PAGE), tx.audit.end()
        breach = walk.take(records)
        if breach is not None:
            return breach
        if walk.at.seq >= end.seq or not records:
            return walk.end(end)
