"""`fleetmend audit`: read the audit log and prove that nobody has changed it."""

from typing import Annotated

import typer
from pydantic import TypeAdapter

from fleetmend.cli.app import Exit, app, say
from fleetmend.cli.settings import ConfigOption
from fleetmend.cli.stores import open_store
from fleetmend.model.audit import AuditRecord, Breach, verify_chain

audit_app = typer.Typer(help="Read and verify the audit log.", no_args_is_help=True)
app.add_typer(audit_app, name="audit")

PAGE = 500
_RECORD = TypeAdapter(AuditRecord)


@audit_app.command("verify")
def verify(config: ConfigOption = None) -> None:
    """Walk the hash chain from its first record; exit code 1 at the first breach."""
    with open_store(config) as store, store.reading() as tx:
        records, head = list(tx.audit.all()), tx.audit.head()
    breach = verify_chain(records)
    if breach is None and len(records) != head:
        breach = Breach(len(records) + 1, f"record missing: the log once reached {head}")
    if breach is not None:
        say.print(f"broken at record {breach.seq}: {breach.what}", style="red", markup=False)
        raise typer.Exit(Exit.FAILED)
    say.print(f"{len(records)} records, the chain holds", style="green", markup=False)


@audit_app.command("show")
def show(
    after: Annotated[int, typer.Option(help="Only records after this number.")] = 0,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 100,
    config: ConfigOption = None,
) -> None:
    """Print audit records as JSON lines, oldest first."""
    with open_store(config) as store, store.reading() as tx:
        for record in tx.audit.page(after, min(limit, PAGE)):
            typer.echo(_RECORD.dump_json(record).decode())
