"""How much one record may hold: what writes and what reads them (`arrow_write`, `columns`,
`cloudevents`, `codec`) refuse the same things."""

ROWS_MAX = 1_000_000
"""Rows in one batch."""
NAMES_MAX = 100_000
"""Entities, or signals, that one batch names."""
NAME_CHARS_MAX = 512
"""Characters in an entity id or a signal name."""
TIME_S_MAX = 5e10
"""Event times beyond this (year 3554, either way) are milliseconds taken for seconds, or noise."""
