"""The coverage ledger: what should be heard of each entity, and how well it is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_TEXTS = ("key", "kind", "pool", "node", "state")
_INDEXES = (("key",), ("kind", "entity"), ("node",), ("pool", "entity"), ("state", "entity"))


def upgrade() -> None:
    """One table; detection fills it within a day from its own state."""
    op.create_table(
        "coverage",
        sa.Column("entity", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _TEXTS),
        sa.Column("at_s", sa.Double(), nullable=False),
        sa.Column("body", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("entity", name="pk_coverage"),
    )
    for columns in _INDEXES:
        op.create_index(f"ix_coverage_{'_'.join(columns)}", "coverage", list(columns))


def downgrade() -> None:
    """The ledger itself stays in detection's snapshots."""
    op.drop_table("coverage")
