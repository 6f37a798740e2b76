"""Rows of tables on a terminal. Every command that prints a table adds its rows here: cells hold
what telemetry, senders and files say, and none of it may steer the terminal.
"""

from rich.table import Table

from fleetmend.model.entities import printable


def add_row(table: Table, *cells: str) -> None:
    """One row, with everything in it escaped that is no plain character."""
    table.add_row(*map(printable, cells))
